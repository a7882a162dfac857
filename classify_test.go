package holdoff_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"reflect"
)

// Which requests may be sent again though they may have been processed.
func TestIdempotentRequests(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method string
		header http.Header
		want   bool
	}{
		{"GET", nil, true}, {"HEAD", nil, true}, {"OPTIONS", nil, true}, {"TRACE", nil, true}, {"PUT", nil, true}, {"DELETE", nil, true},
		{"", nil, true}, // GET, as in net/http
		{"POST", nil, false}, {"PATCH", nil, false}, {"CONNECT", nil, false}, {"LOCK", nil, false}, {"QUERY", nil, false},
		{"get", nil, false}, {"Put", nil, false}, // methods are case-sensitive: these are others
		{"POST", http.Header{"Idempotency-Key": {"k"}}, true},
		{"POST", http.Header{"X-Idempotency-Key": {"k"}}, true},
		{"PATCH", http.Header{"Idempotency-Key": {}}, true},   // net/http's "idempotent, but do not send it"
		{"PATCH", http.Header{"X-Idempotency-Key": {}}, true}, // the same
		{"POST", http.Header{"Idempotency-Key": nil}, true},   // net/http asks whether it is in the map
		{"POST", http.Header{"Idempotency": {"k"}}, false},
		{"POST", http.Header{}, false},
	} {
		req := &http.Request{Method: test.method, Header: test.header}
		if got := holdoff.Idempotent(req); got != test.want {
			t.Errorf("%q with %v: got %v, want %v", test.method, test.header, got, test.want)
		}
		if !holdoff.Idempotent(req.WithContext(holdoff.WithIdempotent(t.Context()))) {
			t.Errorf("%q with %v, marked in its context: got false", test.method, test.header)
		}
	}
}

// Every status, for GET and for POST, with a hint and without. 501, 505 and 511 are
// final; 408 and 425 ask to repeat; 421 would need another connection, which a
// RoundTripper can't ask its base for.
func TestClassifyEveryStatus(t *testing.T) {
	t.Parallel()
	get := []int{408, 425, 429}
	for code := 500; code < 600; code++ {
		if code != 501 && code != 505 && code != 511 {
			get = append(get, code)
		}
	}
	// A POST is resent where the server said that it refused it at the door: the
	// statuses that are rate limits in disguise among them.
	postHinted := []int{403, 418, 420, 429, 430, 503}
	getHinted := append(slices.Clone(get), 403, 413, 418, 420, 430)

	nothing := []int{408, 425, 511}
	for code := 100; code < 600; code++ {
		for _, test := range []struct {
			method  string
			headers []string
			retried []int
		}{
			{"GET", nil, get},
			{"POST", nil, nil},
			{"GET", []string{"Retry-After: 7"}, getHinted},
			{"POST", []string{"Retry-After: 7"}, postHinted},
		} {
			v := holdoff.DefaultClassify(&http.Request{Method: test.method}, answer(code, test.headers...), nil)
			if want := slices.Contains(test.retried, code); v.Retry != want {
				t.Errorf("%s, %d %v: got retry %v, want %v", test.method, code, test.headers, v.Retry, want)
			}
			hinted := test.headers != nil && code >= 400 && code != 511 // a captive portal is not the host
			want := time.Duration(0)
			if hinted {
				want = 7 * time.Second
			}
			if v.Hint != want {
				t.Errorf("%s, %d %v: got hint %v, want %v", test.method, code, test.headers, v.Hint, want)
			}
			lesson := holdoff.Good
			switch {
			case slices.Contains(nothing, code):
				lesson = holdoff.Nothing
			case code == 429, code != 503 && hinted && slices.Contains(postHinted, code):
				lesson = holdoff.Refused
			case code >= 500 && code != 501 && code != 505:
				lesson = holdoff.Failed
			case hinted:
				lesson = holdoff.Nothing
			}
			if v.Lesson != lesson {
				t.Errorf("%s, %d %v: got lesson %v, want %v", test.method, code, test.headers, v.Lesson, lesson)
			}
			if v.Reason == "" {
				t.Errorf("%s, %d: no reason", test.method, code)
			}
		}
	}
	for _, code := range []int{0, 99, 600, 999} { // what a strange base may make up
		holdoff.DefaultClassify(&http.Request{}, answer(code), nil)
	}
}

// A success or a redirect is never replayed and never holds its host, whatever its
// headers say.
func TestClassifyIgnoresHintsOnSuccess(t *testing.T) {
	for _, status := range []int{200, 201, 202, 204, 301, 302, 304, 404} {
		for _, headers := range [][]string{
			{"Retry-After: 30"},
			{"Retry-After-Ms: 30000"},
			{"RateLimit: \"a\";r=0;t=30"},
			{"X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 30"},
		} {
			synctest.Test(t, func(t *testing.T) {
				base := script(with(status, headers...), 200)
				tr := &holdoff.Transport{Base: base}
				req := newRequest(t, "GET", "http://a.example/", "")
				resp, err := tr.RoundTrip(req)
				if err != nil || resp.StatusCode != status || base.sends() != 1 {
					t.Errorf("%d %q: got %v, %v after %d sends, want it back after 1", status, headers, resp, err, base.sends())
				}
				if s := keyAt(tr, "http://a.example"); s.Phase != holdoff.Healthy {
					t.Errorf("%d %q: the key is %v, want it healthy", status, headers, s)
				}
			})
		}
	}
}

// A 403 is a rate limit where it says when to come back, or that
// nothing remains.
func TestClassifyForbiddenAsRateLimit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		headers []string
		want    bool
		hint    time.Duration
	}{
		{"a plain 403", nil, false, 0},
		{"something remains", []string{"X-RateLimit-Remaining: 4999", "X-RateLimit-Reset: 30"}, false, 0},
		{"only a reset", []string{"X-RateLimit-Reset: 30"}, false, 0},
		{"Azure's unknown", []string{"X-RateLimit-Remaining: -1"}, false, 0},
		{"garbage", []string{"X-RateLimit-Remaining: none", "Retry-After: soon"}, false, 0},
		{"GitHub's primary limit", []string{"X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 30"}, true, 30 * time.Second},
		{"GitHub's secondary limit", []string{"X-RateLimit-Remaining: 4999", "Retry-After: 60"}, true, time.Minute},
		{"nothing remains, and no reset", []string{"X-RateLimit-Remaining: 0"}, true, 0},
		{"the IETF's field", []string{`RateLimit: "a";r=0;t=5`}, true, 5 * time.Second},
		{"the IETF's field with some left", []string{`RateLimit: "a";r=3;t=5`}, false, 0},
		{"with an extra dash", []string{"X-Rate-Limit-Remaining: 0", "X-Rate-Limit-Reset: 9"}, true, 9 * time.Second},
	} {
		v := holdoff.DefaultClassify(&http.Request{Method: "GET"}, answer(403, test.headers...), nil)
		if v.Retry != test.want || v.Hint != test.hint || (v.Lesson == holdoff.Refused) != test.want {
			t.Errorf("%s: got %+v, want retry %v, hint %v", test.name, v, test.want, test.hint)
		}
		// It was refused at the door where it says for how long.
		if v := holdoff.DefaultClassify(&http.Request{Method: "POST"}, answer(403, test.headers...), nil); v.Retry != (test.hint > 0) {
			t.Errorf("%s, POST: got %+v, want retry %v", test.name, v, test.hint > 0)
		}
	}
}

// What a server says outright about retrying wins both ways.
func TestClassifyServerSaysWhetherToRetry(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		method string
		status int
		header string
		retry  bool
		hint   time.Duration
	}{
		{"no to a 503", "GET", 503, "X-Should-Retry: false", false, 2 * time.Second},
		{"no to a 429", "GET", 429, "X-Should-Retry: FALSE", false, 2 * time.Second},
		{"yes to a POST", "POST", 500, "X-Should-Retry: true", true, 2 * time.Second},
		{"yes to a 409", "POST", 409, "X-Should-Retry: True", true, 2 * time.Second},
		{"yes to a 400", "GET", 400, "Stripe-Should-Retry: true", true, 2 * time.Second},
		{"yes to a 501", "GET", 501, "Stripe-Should-Retry: true", true, 2 * time.Second},
		{"Stripe's no", "GET", 503, "Stripe-Should-Retry: false", false, 2 * time.Second},
		{"something else", "GET", 503, "X-Should-Retry: maybe", true, 2 * time.Second},
		{"something else for a POST", "POST", 500, "X-Should-Retry: 1", false, 2 * time.Second},
		{"never a success", "GET", 200, "X-Should-Retry: true", false, 0},
		{"never a redirect", "GET", 302, "Stripe-Should-Retry: true", false, 0},

		{"pushback", "GET", 503, "Grpc-Retry-Pushback-Ms: 1500", true, 1500 * time.Millisecond},
		{"pushback of zero does not hide Retry-After", "GET", 503, "Grpc-Retry-Pushback-Ms: 0", true, 2 * time.Second},
		{"negative pushback", "GET", 503, "Grpc-Retry-Pushback-Ms: -1", false, 2 * time.Second},
		{"pushback that can't be read", "GET", 503, "Grpc-Retry-Pushback-Ms: soon", false, 2 * time.Second},
		{"pushback beyond int32", "GET", 503, "Grpc-Retry-Pushback-Ms: 2147483648", false, 2 * time.Second},
		{"pushback is no leave for a POST", "POST", 500, "Grpc-Retry-Pushback-Ms: 10", false, 10 * time.Millisecond},
		{"pushback is no leave for a 404", "GET", 404, "Grpc-Retry-Pushback-Ms: 10", false, 10 * time.Millisecond},
	} {
		v := holdoff.DefaultClassify(&http.Request{Method: test.method}, answer(test.status, test.header, "Retry-After: 2"), nil)
		if v.Retry != test.retry || v.Hint != test.hint {
			t.Errorf("%s: got %+v, want retry %v, hint %v", test.name, v, test.retry, test.hint)
		}
	}
}

// What becomes of whole requests.
func TestClassifyDecisionTable(t *testing.T) {
	keyed := http.Header{"Idempotency-Key": {"k1"}}
	for _, test := range []struct {
		name   string
		method string
		header http.Header
		steps  []any
		sends  int
		status int
	}{
		{"GET 503 without a hint is retried", "GET", nil, []any{503, 200}, 2, 200},
		{"POST 503 without a key is returned", "POST", nil, []any{503, 200}, 1, 503},
		{"POST 503 with a hint was refused at the door", "POST", nil, []any{with(503, "Retry-After: 1"), 200}, 2, 200},
		{"POST 429 with a hint was refused at the door", "POST", nil, []any{with(429, "Retry-After: 1"), 200}, 2, 200},
		{"POST 429 without a hint is returned", "POST", nil, []any{429, 200}, 1, 429},
		{"POST 500 with a hint may have been done", "POST", nil, []any{with(500, "Retry-After: 1"), 200}, 1, 500},
		{"POST with a key goes on after a reset and a 409", "POST", keyed, []any{syscall.ECONNRESET, 409, 200}, 3, 200},
		{"409 to a first attempt is an answer", "POST", keyed, []any{409, 200}, 1, 409},
		{"409 to a repeated GET is an answer", "GET", nil, []any{503, 409, 200}, 2, 409},
		{"409 that never ends is returned", "POST", keyed, []any{503, 409}, 4, 409},
		{"POST without a key ends with a reset", "POST", nil, []any{syscall.ECONNRESET, 200}, 1, 0},
		{"404 is an answer", "GET", nil, []any{404, 200}, 1, 404},
		{"421 is an answer", "GET", nil, []any{421, 200}, 1, 421},
		{"503 that says no is an answer", "GET", nil, []any{with(503, "X-Should-Retry: false"), 200}, 1, 503},
		{"400 that says yes is retried", "POST", nil, []any{with(400, "X-Should-Retry: true"), 200}, 2, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := script(test.steps...)
				keys := map[string]int{}
				tr := &holdoff.Transport{Base: baseFunc(func(req *http.Request) (*http.Response, error) {
					keys[req.Header.Get("Idempotency-Key")]++
					return base.RoundTrip(req)
				})}
				body := ""
				if test.method == "POST" {
					body = "order"
				}
				req := newRequest(t, test.method, "http://a.example/", body)
				maps.Copy(req.Header, test.header)
				resp, err := tr.RoundTrip(req)
				status := 0
				if err == nil {
					status = resp.StatusCode
				}
				if base.sends() != test.sends || status != test.status {
					t.Errorf("got status %d, error %v after %d sends, want %d after %d", status, err, base.sends(), test.status, test.sends)
				}
				if keys[test.header.Get("Idempotency-Key")] != base.sends() {
					t.Errorf("the attempts had the keys %v, want one key on all", keys)
				}
				for _, b := range base.bodies {
					if b != body {
						t.Errorf("an attempt sent the body %q, want %q", b, body)
					}
				}
			})
		})
	}
}

// verdictsOf checks an error as it is below http.Client and as http.Client
// wraps it, for a GET and for a POST.
func verdictsOf(t *testing.T, err error, get, post bool, lesson holdoff.Lesson) {
	t.Helper()
	if err == nil {
		t.Error("got no error to judge")
		return
	}
	for _, e := range []error{err, &url.Error{Op: "Get", URL: "http://a.example/", Err: err}, fmt.Errorf("wrapped: %w", err)} {
		for method, want := range map[string]bool{"GET": get, "POST": post} {
			v := holdoff.DefaultClassify(&http.Request{Method: method}, nil, e)
			if v.Retry != want || v.Lesson != lesson || v.Hint != 0 || v.Reason == "" {
				t.Errorf("%s, %T %v: got %+v, want retry %v, lesson %v", method, e, e, v, want, lesson)
			}
		}
	}
}

// timeoutOnly has Timeout and Temporary, as errors of other packages do.
type timeoutOnly struct{ timeout bool }

func (e *timeoutOnly) Error() string   { return "custom" }
func (e *timeoutOnly) Timeout() bool   { return e.timeout }
func (e *timeoutOnly) Temporary() bool { return true }

// uncomparable is an error that == panics on.
type uncomparable struct{ _ []int }

func (uncomparable) Error() string { return "uncomparable" }

// GoAwayError has the name and the shape of the type in golang.org/x/net/http2.
type GoAwayError struct {
	LastStreamID uint32
	ErrCode      uint32
	DebugData    string
}

func (GoAwayError) Error() string { return "http2: server sent GOAWAY and closed the connection" }

// Errors that were made by hand, for they are hard to provoke.
func TestClassifyErrors(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	read := func(err error) error { return &net.OpError{Op: "read", Net: "tcp", Err: err} }
	for _, test := range []struct {
		name      string
		err       error
		get, post bool
		lesson    holdoff.Lesson
	}{
		// The caller's own context is Transport's to know: see
		// TestClassifyContexts. What is left is that Base gave up.
		{"canceled by Base", context.Canceled, true, false, holdoff.Unreachable},
		{"canceled by Base while dialling", dial(context.Canceled), true, true, holdoff.Unreachable},
		{"deadline of somebody else's", context.DeadlineExceeded, true, false, holdoff.Unreachable},

		{"refused", dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), true, true, holdoff.Unreachable},
		{"no route", dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), true, true, holdoff.Unreachable},
		{"dial timeout", dial(os.ErrDeadlineExceeded), true, true, holdoff.Unreachable},
		{"proxy refused", &net.OpError{Op: "proxyconnect", Net: "tcp", Err: dial(syscall.ECONNREFUSED)}, true, true, holdoff.Unreachable},
		{"SOCKS refused", &net.OpError{Op: "socks connect", Net: "tcp", Err: errors.New("general SOCKS server failure")}, true, true, holdoff.Unreachable},
		{"address that is none", dial(&net.AddrError{Err: "invalid port", Addr: "99999"}), false, false, holdoff.Nothing},
		{"network that is none", dial(net.UnknownNetworkError("tcp9")), false, false, holdoff.Nothing},

		{"NXDOMAIN", &net.DNSError{Err: "no such host", Name: "a.example", IsNotFound: true}, false, false, holdoff.Nothing},
		{"NXDOMAIN while dialling", dial(&net.DNSError{Err: "no such host", IsNotFound: true}), false, false, holdoff.Nothing},
		{"NXDOMAIN that is temporary", &net.DNSError{IsNotFound: true, IsTemporary: true}, false, false, holdoff.Nothing},
		{"SERVFAIL", dial(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), true, true, holdoff.Unreachable},
		{"lookup timeout", dial(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), true, true, holdoff.Unreachable},
		{"lookup failed for good", dial(&net.DNSError{Err: "unrecognized"}), false, false, holdoff.Nothing},

		{"reset", read(os.NewSyscallError("read", syscall.ECONNRESET)), true, false, holdoff.Unreachable},
		{"bare reset", syscall.ECONNRESET, true, false, holdoff.Unreachable},
		{"broken pipe", &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, true, false, holdoff.Unreachable},
		{"kernel timeout", read(os.NewSyscallError("read", syscall.ETIMEDOUT)), true, false, holdoff.Unreachable},
		{"aborted", syscall.ECONNABORTED, true, false, holdoff.Unreachable},
		{"EOF", io.EOF, true, false, holdoff.Unreachable},
		{"unexpected EOF", io.ErrUnexpectedEOF, true, false, holdoff.Unreachable},
		{"read deadline", read(os.ErrDeadlineExceeded), true, false, holdoff.Unreachable},
		{"wrapped read deadline", fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", read(os.ErrDeadlineExceeded)), true, false, holdoff.Unreachable},
		{"attempt timeout", timeoutOfAttempt(t), true, false, holdoff.Unreachable},

		{"x509, authority", x509.UnknownAuthorityError{}, false, false, holdoff.Nothing},
		{"x509, name", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a"}, false, false, holdoff.Nothing},
		{"x509, invalid", x509.CertificateInvalidError{Reason: x509.Expired}, false, false, holdoff.Nothing},
		{"x509, roots", x509.SystemRootsError{}, false, false, holdoff.Nothing},
		{"tls, verification", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false, false, holdoff.Nothing},
		{"tls, through a proxy", &net.OpError{Op: "proxyconnect", Err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}}, false, false, holdoff.Nothing},
		{"tls, record header", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, false, false, holdoff.Nothing},
		{"tls, alert", tls.AlertError(40), false, false, holdoff.Nothing},
		{"scheme mismatch", http.ErrSchemeMismatch, false, false, holdoff.Nothing},

		{"refused stream", streamError{StreamID: 1, Code: refusedStream}, true, true, holdoff.Nothing},
		{"stream reset", streamError{StreamID: 1, Code: 0x2}, true, false, holdoff.Unreachable},
		{"stream reset for good", streamError{StreamID: 1, Code: 0xd}, false, false, holdoff.Nothing}, // HTTP_1_1_REQUIRED
		// Design lists GOAWAY among what was provably not processed. That holds for
		// streams above its last id, which net/http resends itself; one that comes
		// up here may have been processed, so a POST is not resent.
		{"GOAWAY", GoAwayError{LastStreamID: 1}, true, false, holdoff.Nothing},

		// Known by their text alone: see classify_text_test.go.
		{"server closed an idle connection", errors.New("http: server closed idle connection"), true, false, holdoff.Nothing},
		{"HTTP/2 connection lost", errors.New("http2: client connection lost"), true, false, holdoff.Unreachable},

		{"ErrUseLastResponse", http.ErrUseLastResponse, false, false, holdoff.Nothing},
		{"ErrSkipAltProtocol", http.ErrSkipAltProtocol, false, false, holdoff.Nothing},
		{"ErrHandlerTimeout", http.ErrHandlerTimeout, false, false, holdoff.Nothing},
		{"custom timeout", &timeoutOnly{true}, true, false, holdoff.Unreachable},
		{"custom temporary", &timeoutOnly{false}, false, false, holdoff.Nothing},
		{"custom", errors.New("custom"), false, false, holdoff.Nothing},
		{"uncomparable", uncomparable{}, false, false, holdoff.Nothing},
		{"joined", errors.Join(errors.New("custom"), syscall.ECONNRESET), true, false, holdoff.Unreachable},
		{"joined timeout", errors.Join(&timeoutOnly{false}, os.ErrDeadlineExceeded), true, false, holdoff.Unreachable},
		{"text that looks like it", errors.New("dial tcp: connection refused, i/o timeout, EOF"), false, false, holdoff.Nothing},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			verdictsOf(t, test.err, test.get, test.post, test.lesson)
		})
	}
}

// The caller's context is never retried, an attempt's timeout is, and a context error
// of Base's goes by whether it is a timeout.
func TestClassifyContexts(t *testing.T) {
	for _, test := range []struct {
		name  string
		tr    *holdoff.Transport
		end   func(context.Context) (context.Context, context.CancelFunc)
		base  func(*http.Request) error
		sends int
		want  error
	}{
		{"the caller cancels", &holdoff.Transport{}, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, nil, 1, context.Canceled},
		{"the caller's deadline", &holdoff.Transport{}, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, nil, 1, context.DeadlineExceeded},
		{"an attempt's timeout", &holdoff.Transport{PerAttemptTimeout: time.Second}, nil, nil, 4, nil},
		{"a deadline of Base's", &holdoff.Transport{}, nil, func(*http.Request) error { return context.DeadlineExceeded }, 4, context.DeadlineExceeded},
		{"a cancellation of Base's", &holdoff.Transport{}, nil, func(*http.Request) error { return context.Canceled }, 4, context.Canceled},
		{"a reset after the caller has gone", &holdoff.Transport{}, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, func(req *http.Request) error { <-req.Context().Done(); return syscall.ECONNRESET }, 1, syscall.ECONNRESET},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sends := 0
				test.tr.Base = baseFunc(func(req *http.Request) (*http.Response, error) {
					sends++
					if test.base != nil {
						return nil, test.base(req)
					}
					<-req.Context().Done()
					return nil, req.Context().Err()
				})
				req := newRequest(t, "GET", "http://a.example/", "")
				if test.end != nil {
					ctx, cancel := test.end(t.Context())
					defer cancel()
					req = req.WithContext(ctx)
				}
				_, err := test.tr.RoundTrip(req)
				if sends != test.sends || err == nil || (test.want != nil && !errors.Is(err, test.want)) {
					t.Errorf("got error %v after %d sends, want %v after %d", err, sends, test.want, test.sends)
				}
			})
		})
	}
}

// meet sends one request through a Transport above base, and checks how often
// it was sent, and what its error is judged as.
func meet(t *testing.T, base *http.Transport, method, raw string, sends int, get, post bool, lesson holdoff.Lesson) {
	t.Helper()
	t.Cleanup(base.CloseIdleConnections)
	count := 0
	tr := &holdoff.Transport{MaxAttempts: 2, Backoff: holdoff.Exponential{Base: 1, Cap: 1}, Base: baseCounter{base, &count}}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	req := &http.Request{Method: method, URL: u, Header: http.Header{}} // NewRequest would refuse a bad method
	resp, err := tr.RoundTrip(req.WithContext(t.Context()))
	if err == nil {
		resp.Body.Close()
		t.Fatalf("%s: got status %d, want an error", raw, resp.StatusCode)
	}
	if count != sends {
		t.Errorf("%s: got %d sends, want %d (%v)", raw, count, sends, err)
	}
	verdictsOf(t, err, get, post, lesson)
}

// baseCounter counts what passes, and leaves the body to its base.
type baseCounter struct {
	http.RoundTripper
	n *int
}

func (c baseCounter) RoundTrip(req *http.Request) (*http.Response, error) {
	*c.n++
	return c.RoundTripper.RoundTrip(req)
}

// listen starts a server that does serve with each connection, then closes it.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// refusedAddress is one at which no server listens any more.
func refusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func quietTLSServer(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// What no repetition mends is sent once: real errors of net/http.
func TestClassifyRealErrorsThatAreFinal(t *testing.T) {
	t.Parallel()
	once := func(t *testing.T, base *http.Transport, method, raw string) {
		t.Helper()
		meet(t, base, method, raw, 1, false, false, holdoff.Nothing)
	}
	secure := quietTLSServer(t)
	trusting := func() *tls.Config {
		pool := x509.NewCertPool()
		pool.AddCert(secure.Certificate())
		return &tls.Config{RootCAs: pool}
	}
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(plain.Close)

	once(t, &http.Transport{}, "GET", secure.URL) // an authority that is not trusted
	other := trusting()
	other.ServerName = "other.invalid"
	once(t, &http.Transport{TLSClientConfig: other}, "GET", secure.URL)
	late := trusting()
	late.Time = func() time.Time { return time.Now().AddDate(200, 0, 0) }
	once(t, &http.Transport{TLSClientConfig: late}, "GET", secure.URL)
	once(t, &http.Transport{}, "GET", strings.Replace(plain.URL, "http:", "https:", 1))
	once(t, &http.Transport{}, "GET", "ftp://a.example/")
	once(t, &http.Transport{}, "GET", "http://127.0.0.1:99999/")
	once(t, &http.Transport{}, "GE T", plain.URL)
	once(t, &http.Transport{}, "GET", "http:///no-host")

	strict := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	strict.Config.ErrorLog = log.New(io.Discard, "", 0)
	strict.TLS = &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	strict.StartTLS()
	t.Cleanup(strict.Close)
	once(t, &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}, "GET", strict.URL) // a remote alert

	garbage := listen(t, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n\r\n")
	})
	once(t, &http.Transport{}, "GET", "http://"+garbage)

	count := 0
	tr := &holdoff.Transport{Base: baseCounter{&http.Transport{}, &count}}
	for _, header := range []http.Header{{"bad name": {"v"}}, {"Name": {"bad\nvalue"}}, {"": {"v"}}} {
		count = 0
		req := newRequest(t, "GET", plain.URL, "")
		req.Header = header
		_, err := tr.RoundTrip(req)
		if count != 1 {
			t.Errorf("header %q: got %d sends, want 1", header, count)
		}
		verdictsOf(t, err, false, false, holdoff.Nothing)
	}
	count = 0
	if _, err := tr.RoundTrip(&http.Request{Method: "GET", Header: http.Header{}}); err == nil || count != 1 {
		t.Errorf("no URL: got error %v after %d sends, want one after 1", err, count)
	}
	tr.CloseIdleConnections()

	// http to a port of https is an answer: 400, which is not retried.
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	count = 0
	resp, err := (&holdoff.Transport{Base: baseCounter{base, &count}}).RoundTrip(newRequest(t, "GET", strings.Replace(secure.URL, "https:", "http:", 1), ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 || count != 1 {
		t.Errorf("http to https: got status %d after %d sends, want 400 after 1", resp.StatusCode, count)
	}
}

// Real errors of net/http that may pass.
func TestClassifyRealErrorsThatMayPass(t *testing.T) {
	t.Parallel()
	refused := refusedAddress(t)
	meet(t, &http.Transport{}, "GET", "http://"+refused, 2, true, true, holdoff.Unreachable)
	meet(t, &http.Transport{}, "POST", "http://"+refused, 2, true, true, holdoff.Unreachable)
	proxy, err := url.Parse("http://" + refused)
	if err != nil {
		t.Fatal(err)
	}
	meet(t, &http.Transport{Proxy: http.ProxyURL(proxy)}, "GET", "https://a.invalid/", 2, true, true, holdoff.Unreachable)

	silent := listen(t, func(c net.Conn) { io.Copy(io.Discard, c) }) // until the client leaves
	closed := listen(t, func(c net.Conn) { c.Read(make([]byte, 4096)) })
	partial := listen(t, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nVia: x\r\n")
	})
	reset := listen(t, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		c.(*net.TCPConn).SetLinger(0)
	})
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		meet(t, &http.Transport{}, method, "http://"+closed, 2, true, false, holdoff.Unreachable)
		meet(t, &http.Transport{}, method, "http://"+partial, 2, true, false, holdoff.Unreachable)
		meet(t, &http.Transport{}, method, "http://"+reset, 2, true, false, holdoff.Unreachable)
	}
	meet(t, &http.Transport{}, "POST", "http://"+closed, 1, true, false, holdoff.Unreachable)
	meet(t, &http.Transport{}, "POST", "http://"+reset, 1, true, false, holdoff.Unreachable)
	meet(t, &http.Transport{ResponseHeaderTimeout: 50 * time.Millisecond}, "GET", "http://"+silent, 2, true, false, holdoff.Unreachable)
	meet(t, &http.Transport{TLSHandshakeTimeout: 50 * time.Millisecond}, "GET", "https://"+silent, 2, true, false, holdoff.Unreachable)
}

// frame writes an HTTP/2 frame of a few bytes.
func frame(kind byte, stream uint32, payload ...byte) []byte {
	f := []byte{0, 0, byte(len(payload)), kind, 0}
	f = binary.BigEndian.AppendUint32(f, stream)
	return append(f, payload...)
}

// rawH2 is a Transport of net/http above a server that speaks just as much
// HTTP/2 as it takes to meet a request's HEADERS with onHeaders. It lives in a
// bubble: its network is made of pipes.
// streamError is an error as net/http's own of a stream: that has no exported name,
// and errors.As copies it into any struct of its shape.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "stream error" }

func (e streamError) As(target any) bool {
	to, from := reflect.ValueOf(target).Elem(), reflect.ValueOf(e)
	if to.Kind() != reflect.Struct || to.NumField() != from.NumField() {
		return false
	}
	for i := range to.NumField() {
		f := from.Type().Field(i)
		if to.Type().Field(i).Name != f.Name || !f.Type.ConvertibleTo(to.Field(i).Type()) {
			return false
		}
	}
	for i := range to.NumField() {
		to.Field(i).Set(from.Field(i).Convert(to.Field(i).Type()))
	}
	return true
}

func rawH2(onHeaders func(stream uint32, send func([]byte), hangUp func())) *http.Transport {
	serve := func(c net.Conn) {
		defer c.Close()
		out := make(chan []byte, 64) // so that reading never waits for writing
		defer close(out)
		go func() {
			for b := range out {
				if b == nil {
					c.Close()
					continue
				}
				c.Write(b)
			}
		}()
		const preface, headers, settings = 24, 1, 4
		if _, err := io.CopyN(io.Discard, c, preface); err != nil {
			return
		}
		out <- frame(settings, 0)
		var head [9]byte
		for {
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			size := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
			var payload bytes.Buffer
			if _, err := io.CopyN(&payload, c, size); err != nil {
				return
			}
			if head[3] == headers {
				onHeaders(binary.BigEndian.Uint32(head[5:]), func(b []byte) { out <- b }, func() { out <- nil })
			}
		}
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Protocols: &protocols,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go serve(server)
			return client, nil
		},
	}
}

// HTTP/2's own ways to end a stream or a connection, as net/http shows them once its
// own retries are over.
func TestClassifyRealHTTP2Errors(t *testing.T) {
	const rstStream, goAway = 3, 7
	for _, test := range []struct {
		name      string
		onHeaders func(stream uint32, send func([]byte), hangUp func())
		sends     int
		get, post bool
		lesson    holdoff.Lesson
	}{
		{"REFUSED_STREAM", func(stream uint32, send func([]byte), _ func()) {
			send(frame(rstStream, stream, 0, 0, 0, refusedStream))
		}, 2, true, true, holdoff.Nothing},
		{"INTERNAL_ERROR", func(stream uint32, send func([]byte), _ func()) {
			send(frame(rstStream, stream, 0, 0, 0, 2))
		}, 2, true, false, holdoff.Unreachable},
		{"GOAWAY that names the stream as processed", func(stream uint32, send func([]byte), hangUp func()) {
			send(frame(goAway, 0, 0, 0, 0, byte(stream), 0, 0, 0, 0))
			hangUp()
		}, 2, true, false, holdoff.Nothing},
		{"GOAWAY with an error", func(stream uint32, send func([]byte), hangUp func()) {
			send(frame(goAway, 0, 0, 0, 0, byte(stream), 0, 0, 0, 11))
			hangUp()
		}, 2, true, false, holdoff.Nothing},
		{"connection closed", func(_ uint32, _ func([]byte), hangUp func()) { hangUp() }, 2, true, false, holdoff.Unreachable},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				meet(t, rawH2(test.onHeaders), "GET", "http://a.example/", test.sends, test.get, test.post, test.lesson)
			})
		})
	}
}
