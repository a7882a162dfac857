package retryapi

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-holdoff/holdoff"
)

func TestReplay_RedirectIsNoSuccess(t *testing.T) {
	for code, want := range map[int]string{
		301: "the server answered 301 Moved Permanently, which is not followed",
		302: "the server answered 302 Found, which is not followed",
		304: "the server answered 304 Not Modified, which is not followed",
		307: "the server answered 307 Temporary Redirect, which is not followed",
		308: "the server answered 308 Permanent Redirect, which is not followed",
	} {
		r := newRig(t, []int{code}, "Location", "https://elsewhere.example/?token=sesame")
		rec := post(r, callBody(r.id, 4, 0, 0))
		got := retried(t, rec)
		if got.Result != "failure" || got.Status != code || got.Error != want || got.NextAttemptNumber == nil || *got.NextAttemptNumber != 5 {
			t.Errorf("%d: got %+v, want a failure with %q and the next number 5", code, got, want)
		}
		if next, inFlight := r.next(t); next != 5 || inFlight {
			t.Errorf("%d: got next number %d, in flight %t; want it parked with 5, and free", code, next, inFlight)
		}
		if r.server.sends() != 1 || strings.Contains(rec.Body.String(), "elsewhere") {
			t.Errorf("got %d sends and %s; want one, and nothing of where it leads", r.server.sends(), rec.Body)
		}
	}
}

// connection is the body of a 101: reading it would wait for the peer.
type connection struct {
	io.ReadWriter
	t      *testing.T
	closed bool
}

func (c *connection) Read([]byte) (int, error) {
	c.t.Error("the connection is read from")
	return 0, io.EOF
}
func (c *connection) Close() error { c.closed = true; return nil }

func TestReplay_SwitchOfProtocolsIsNoSuccess(t *testing.T) {
	r := newRig(t, nil)
	body := &connection{t: t}
	r.Transport.Base = baseFunc(func(*http.Request) (*http.Response, error) {
		resp := response(http.StatusSwitchingProtocols)
		resp.Body = body
		return resp, nil
	})
	got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
	if next, _ := r.next(t); got.Result != "failure" || got.Status != 101 || next != 5 || !body.closed {
		t.Errorf("got %+v, closed %t; want a failure, and the connection closed", got, body.closed)
	}
}

// Some APIs refuse with a 200: a Classify that knows them retries it.
func TestReplay_2xxThatTheTransportWouldRetryIsNoSuccess(t *testing.T) {
	for retry, want := range map[bool]string{true: "failure", false: "success"} {
		r := newRig(t, []int{200})
		r.Transport.Classify = func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
			return holdoff.Verdict{Retry: retry, Reason: "throttled"}
		}
		got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
		if got.Result != want || got.Status != 200 {
			t.Errorf("retried %t: got %+v, want a %s", retry, got, want)
		}
		if _, total, _ := r.lot.List(t.Context(), 1); (total == 1) != retry {
			t.Errorf("retried %t: got %d parked", retry, total)
		}
	}
}
