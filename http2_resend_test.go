package holdoff_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

// impatient makes retries that don't slow the tests down.
var impatient = holdoff.Exponential{Base: time.Millisecond, Cap: time.Millisecond}

// h2Stream is a body without GetBody, and counts its closes.
type h2Stream struct {
	io.Reader
	closes atomic.Int32
	closed chan struct{}
}

func (s *h2Stream) Close() error {
	if s.closes.Add(1) == 1 {
		close(s.closed)
	}
	return nil
}

func newStream(t *testing.T, method, url, content string) (*http.Request, *h2Stream) {
	t.Helper()
	body := &h2Stream{Reader: strings.NewReader(content), closed: make(chan struct{})}
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req, body
}

const (
	noError       = 0x0
	protocolError = 0x1
	refusedStream = 0x7
	calmDown      = 0xb
)

// A server that says that it did not process a request gets it again, also where
// only the Transport can replay the body.
func TestResend_UnprocessedHTTP2StreamWithoutGetBodyIsAnswered(t *testing.T) {
	t.Parallel()
	refusals := map[string]func(h2Request){
		"REFUSED_STREAM":                 func(r h2Request) { r.reset(refusedStream) },
		"graceful GOAWAY":                func(r h2Request) { r.goAway(0, noError) },
		"PROTOCOL_ERROR on first stream": func(r h2Request) { r.reset(protocolError) },
	}
	requests := []struct {
		name, method string
		mark         func(*http.Request)
	}{
		{"PUT", "PUT", func(*http.Request) {}},
		{"POST", "POST", func(*http.Request) {}},
		{"POST with Idempotency-Key", "POST", func(r *http.Request) { r.Header.Set("Idempotency-Key", "k") }},
		// Relatives: a known length, and an idempotency that only we know of.
		{"PATCH of known length", "PATCH", func(r *http.Request) { r.ContentLength = int64(len(smallBody)) }},
		{"POST WithIdempotent", "POST", func(r *http.Request) { *r = *r.WithContext(holdoff.WithIdempotent(r.Context())) }},
	}
	for refusal, refuse := range refusals {
		for _, test := range requests {
			t.Run(refusal+", "+test.name, func(t *testing.T) {
				t.Parallel()
				url, base := startH2(t, func(r h2Request) {
					if r.body != smallBody {
						t.Errorf("request %d: got a body of %d bytes, want %d", r.number, len(r.body), len(smallBody))
					}
					if r.number == 0 {
						refuse(r)
						return
					}
					r.answer200()
				})
				req, body := newStream(t, test.method, url, smallBody)
				test.mark(req)
				resp, err := (&holdoff.Transport{Base: base, Backoff: impatient}).RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK || resp.Request != req {
					t.Errorf("got status %d, and the caller's request: %v", resp.StatusCode, resp.Request == req)
				}
				<-body.closed // net/http may close it after RoundTrip has returned
				if req.GetBody != nil {
					t.Error("the caller's request was written to")
				}
			})
		}
	}
}

var smallBody = strings.Repeat("small ", 5000)

// What is longer than 64 KiB is not remembered, and the error says what helps.
func TestResend_LongBodyWithoutGetBodySaysWhatHelps(t *testing.T) {
	t.Parallel()
	url, base := startH2(t, func(r h2Request) { r.reset(refusedStream) })
	req, body := newStream(t, "PUT", url, strings.Repeat("x", 100<<10))
	var out holdoff.Outcome
	req = req.WithContext(holdoff.WithOutcome(req.Context(), &out))
	_, err := (&holdoff.Transport{Base: base, Backoff: impatient}).RoundTrip(req)
	if err == nil || !strings.Contains(err.Error(), "GetBody") {
		t.Errorf("got %v, want an error that names GetBody", err)
	}
	if out.Attempts != 1 || out.Ended != holdoff.EndFinal || body.closes.Load() != 1 {
		t.Errorf("got %+v, body closed %d times; want one attempt, one close", out, body.closes.Load())
	}
}

// A request that must be sent only once gets no GetBody, so that net/http does not
// send it again either.
func TestResend_WithoutRetryGivesNetHTTPNoGetBody(t *testing.T) {
	t.Parallel()
	var sends atomic.Int32
	url, base := startH2(t, func(r h2Request) { sends.Add(1); r.reset(refusedStream) })
	req, _ := newStream(t, "PUT", url, smallBody)
	_, err := (&holdoff.Transport{Base: base}).RoundTrip(req.WithContext(holdoff.WithoutRetry(req.Context())))
	if err == nil || sends.Load() != 1 {
		t.Errorf("got error %v after %d sends, want one after 1", err, sends.Load())
	}
}

// net/http waits before it sends a refused stream a third time. Where the context
// ends in that wait, it leaves what GetBody returned open.
func TestResend_ContextEndsInNetHTTPsOwnBackoffClosesTheBody(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url, base := startH2(t, func(r h2Request) {
		r.reset(refusedStream)
		if r.number == 1 {
			time.AfterFunc(100*time.Millisecond, cancel)
		}
	})
	req, body := newStream(t, "PUT", url, smallBody)
	_, err := (&holdoff.Transport{Base: base}).RoundTrip(req.WithContext(ctx))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if got := body.closes.Load(); got != 1 {
		t.Errorf("body closed %d times, want once", got)
	}
}

// RFC 9113, section 6.8: streams above the last one that a GOAWAY names were not
// processed. net/http does not resend the first one of a connection by itself.
func TestGoAway_ErrorBeforeTheFirstStreamIsRetried(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "DELETE", "PUT", "POST"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			url, base := startH2(t, func(r h2Request) {
				if r.number == 0 {
					r.goAway(0, calmDown)
					return
				}
				r.answer200()
			})
			content := ""
			if method == "PUT" || method == "POST" {
				content = smallBody
			}
			req, _ := newStream(t, method, url, content)
			resp, err := (&holdoff.Transport{Base: base, Backoff: impatient}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		})
	}
}

// A GOAWAY that blames the only request of a connection would meet the next
// attempt as well.
func TestGoAway_ThatBlamesTheOnlyStreamIsFinal(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]byte{"PROTOCOL_ERROR": 0x1, "FRAME_SIZE_ERROR": 0x6, "COMPRESSION_ERROR": 0x9, "HTTP_1_1_REQUIRED": 0xd} {
		for _, last := range []uint32{0, 1} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var sends atomic.Int32
				url, base := startH2(t, func(r h2Request) {
					sends.Add(1)
					r.goAway(last, code)
					r.conn.Close()
				})
				var out holdoff.Outcome
				req, _ := newStream(t, "GET", url, "")
				_, err := (&holdoff.Transport{Base: base, Backoff: impatient}).RoundTrip(req.WithContext(holdoff.WithOutcome(req.Context(), &out)))
				if err == nil || sends.Load() != 1 || out.Ended != holdoff.EndFinal {
					t.Errorf("got error %v, %q after %d sends; want a final one after 1", err, out.Ended, sends.Load())
				}
			})
		}
	}
}

// On a connection that had other requests, one of those may have been to blame.
func TestGoAway_ThatBlamesALaterStreamIsRetried(t *testing.T) {
	t.Parallel()
	url, base := startH2(t, func(r h2Request) {
		if r.stream > 1 {
			r.goAway(r.stream, protocolError)
			r.conn.Close()
			return
		}
		r.answer200()
	})
	tr := &holdoff.Transport{Base: base, Backoff: impatient}
	for range 2 {
		req, _ := newStream(t, "GET", url, "")
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}

// net/http's own server refuses headers of more than a mebibyte so.
func TestGoAway_FromHeadersThatAreTooLargeIsFinal(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = discardLog
	srv.StartTLS()
	t.Cleanup(srv.Close)
	var out holdoff.Outcome
	req, _ := newStream(t, "GET", srv.URL, "")
	req = req.WithContext(holdoff.WithOutcome(req.Context(), &out))
	for range 64 {
		req.Header.Add("X-Large", strings.Repeat("x", 32<<10))
	}
	_, err := (&holdoff.Transport{Base: srv.Client().Transport, Backoff: impatient}).RoundTrip(req)
	if err == nil || out.Attempts != 1 {
		t.Errorf("got error %v after %d attempts, want one after 1", err, out.Attempts)
	}
}
