//lint:file-ignore SA1019 Request.Cancel is deprecated, and net/http obeys it.

package holdoff_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// respond makes a response without a body.
func respond(status int, headers ...string) (*http.Response, error) {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		resp.Header.Set(name, value)
	}
	return resp, nil
}

var errReplaced = errors.New("the job was replaced")

// Callers compare what they gave to a context with ==, as net/http lets them.
func TestContext_EndedBeforeTheFirstSendReturnsItsCauseItself(t *testing.T) {
	t.Parallel()
	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	replaced, replace := context.WithCancelCause(t.Context())
	replace(errReplaced)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: canceled, context.DeadlineExceeded: past, errReplaced: replaced} {
		var out holdoff.Outcome
		req, body := newStream(t, "PUT", "http://h/", "order")
		_, err := (&holdoff.Transport{}).RoundTrip(req.WithContext(holdoff.WithOutcome(ctx, &out)))
		if err != want {
			t.Errorf("got %v, want %v itself", err, want)
		}
		if out.Attempts != 0 || out.Ended != holdoff.EndContext || body.closes.Load() != 1 {
			t.Errorf("got %+v, body closed %d times; want no attempt, %q, once", out, body.closes.Load(), holdoff.EndContext)
		}
	}
}

// A wait is a fact that the caller learns.
func TestContext_EndedInAWaitReturnsAWaitError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errReplaced) })
		tr := &holdoff.Transport{Base: roundTripFunc(func(*http.Request) (*http.Response, error) { return respond(503, "Retry-After: 5") })}
		req, _ := newStream(t, "GET", "http://h/", "")
		_, err := tr.RoundTrip(req.WithContext(ctx))
		if wait, ok := errors.AsType[*holdoff.WaitError](err); !ok || !errors.Is(err, errReplaced) || wait.Attempts != 1 {
			t.Errorf("got %v, want a WaitError of the cause after one attempt", err)
		}
	})
}

// Base's own context is not the caller's: its end is a failure to answer in time.
func TestBase_ItsOwnCancellationIsRetriedLikeItsDeadline(t *testing.T) {
	for name, test := range map[string]struct {
		method string
		err    error
		sends  int32
	}{
		"Canceled":                {"GET", context.Canceled, 4},
		"Canceled, wrapped":       {"PUT", &net.OpError{Op: "read", Err: context.Canceled}, 4},
		"Canceled, POST":          {"POST", context.Canceled, 1},
		"DeadlineExceeded":        {"GET", context.DeadlineExceeded, 4},
		"DeadlineExceeded, POST":  {"POST", context.DeadlineExceeded, 1},
		"connection closed":       {"GET", &net.OpError{Op: "read", Err: net.ErrClosed}, 4},
		"connection closed, PUT":  {"PUT", net.ErrClosed, 4},
		"pipe closed":             {"GET", io.ErrClosedPipe, 4},
		"connection closed, POST": {"POST", net.ErrClosed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sends atomic.Int32
				tr := &holdoff.Transport{Base: roundTripFunc(func(*http.Request) (*http.Response, error) {
					sends.Add(1)
					return nil, test.err
				})}
				req, _ := newStream(t, test.method, "http://h/", "")
				_, err := tr.RoundTrip(req)
				if !errors.Is(err, test.err) || sends.Load() != test.sends {
					t.Errorf("got error %v after %d sends, want %v after %d", err, sends.Load(), test.err, test.sends)
				}
			})
		})
	}
}

// A connection that this process closed says nothing about the host.
func TestClassify_ConnectionClosedHereTeachesNothing(t *testing.T) {
	t.Parallel()
	for _, err := range []error{net.ErrClosed, &net.OpError{Op: "read", Err: net.ErrClosed}, io.ErrClosedPipe} {
		if v := holdoff.DefaultClassify(&http.Request{Method: "GET"}, nil, err); !v.Retry || v.Lesson != holdoff.Nothing {
			t.Errorf("%v: got %+v, want a retry that teaches nothing", err, v)
		}
	}
}

// A dialer that changes certificates closes the connections that it has made.
func TestConnectionClosedByItsDialer_IsRetriedOnAnother(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	dialed := make(chan net.Conn, 2)
	var dialer net.Dialer
	address := startListener(t, func(c net.Conn) {
		if connections.Add(1) == 1 {
			io.ReadFull(c, make([]byte, 16))
			(<-dialed).Close()
			io.Copy(io.Discard, c)
			return
		}
		io.ReadFull(c, make([]byte, 16))
		io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		dialed <- c
		return c, err
	}}
	t.Cleanup(base.CloseIdleConnections)
	req, _ := newStream(t, "GET", "http://"+address, "")
	resp, err := (&holdoff.Transport{Base: base, Backoff: impatient}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// cancelAfter gives req a Cancel channel that closes after d.
func cancelAfter(req *http.Request, d time.Duration) *http.Request {
	canceled := make(chan struct{})
	req.Cancel = canceled
	if d == 0 {
		close(canceled)
	} else {
		time.AfterFunc(d, func() { close(canceled) })
	}
	return req
}

func TestRequestCancel_EndsAWaitForARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &holdoff.Transport{Base: roundTripFunc(func(*http.Request) (*http.Response, error) { return respond(503, "Retry-After: 30") })}
		req, _ := newStream(t, "GET", "http://h/", "")
		begun := time.Now()
		_, err := tr.RoundTrip(cancelAfter(req, time.Second))
		if wait, ok := errors.AsType[*holdoff.WaitError](err); !ok || wait.Status != 503 || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want a WaitError of a cancel after a 503", err)
		}
		if got := time.Since(begun); got != time.Second {
			t.Errorf("returned after %v, want 1s", got)
		}
	})
}

func TestRequestCancel_EndsAWaitForAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &holdoff.Transport{MaxAttempts: 1, Base: roundTripFunc(func(*http.Request) (*http.Response, error) { return respond(503, "Retry-After: 30") })}
		first, _ := newStream(t, "GET", "http://h/", "")
		if _, err := tr.RoundTrip(first); err != nil {
			t.Fatal(err)
		}
		req, body := newStream(t, "PUT", "http://h/", "order")
		begun := time.Now()
		_, err := tr.RoundTrip(cancelAfter(req, time.Second))
		if wait, ok := errors.AsType[*holdoff.WaitError](err); !ok || wait.Attempts != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want a WaitError of a cancel without an attempt", err)
		}
		if got := time.Since(begun); got != time.Second || body.closes.Load() != 1 {
			t.Errorf("returned after %v, body closed %d times; want 1s, once", got, body.closes.Load())
		}
	})
}

func TestRequestCancel_ClosedBeforeTheFirstSendSendsNothing(t *testing.T) {
	t.Parallel()
	sends := 0
	tr := &holdoff.Transport{Base: roundTripFunc(func(*http.Request) (*http.Response, error) { sends++; return respond(200) })}
	req, body := newStream(t, "PUT", "http://h/", "order")
	_, err := tr.RoundTrip(cancelAfter(req, 0))
	if err == nil || sends != 0 || body.closes.Load() != 1 {
		t.Errorf("got error %v after %d sends, body closed %d times; want one, none, once", err, sends, body.closes.Load())
	}
}

// An attempt that Cancel ends is final, however Base names its end, and a Cancel
// that stays open changes nothing.
func TestRequestCancel_InAnAttemptIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		tr := &holdoff.Transport{Base: roundTripFunc(func(req *http.Request) (*http.Response, error) {
			sends++
			<-req.Cancel
			return nil, io.ErrUnexpectedEOF
		})}
		req, _ := newStream(t, "GET", "http://h/", "")
		var out holdoff.Outcome
		_, err := tr.RoundTrip(cancelAfter(req.WithContext(holdoff.WithOutcome(req.Context(), &out)), time.Second))
		if err == nil || sends != 1 || out.Ended != holdoff.EndContext {
			t.Errorf("got error %v, ended %q after %d sends; want one, %q, 1", err, out.Ended, sends, holdoff.EndContext)
		}
	})
}

func TestRequestCancel_ThatStaysOpenLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails where a goroutine is left
		tr := &holdoff.Transport{Base: roundTripFunc(func(*http.Request) (*http.Response, error) { return respond(200) })}
		req, _ := newStream(t, "GET", "http://h/", "")
		req.Cancel = make(chan struct{})
		if _, err := tr.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPerAttemptTimeout_ErrorIsDeadlineExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &holdoff.Transport{PerAttemptTimeout: time.Second, Base: roundTripFunc(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})}
		for _, method := range []string{"GET", "POST"} {
			req, _ := newStream(t, method, "http://h/", "")
			_, err := (&http.Client{Transport: tr}).Do(req)
			timeout, ok := errors.AsType[net.Error](err)
			if !errors.Is(err, context.DeadlineExceeded) || !ok || !timeout.Timeout() || errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want a timeout that is context.DeadlineExceeded", method, err)
			}
		}
	})
}
