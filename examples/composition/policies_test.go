package composition

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/timeout"

	"github.com/go-holdoff/holdoff"
)

// failsafe-go's timeout inside: it bounds one attempt, and its error needs a
// verdict to be retried.
func Example_timeoutInside() {
	first := true
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		if first {
			first = false
			<-req.Context().Done()
		}
	}))
	defer server.Close()

	client := &http.Client{Transport: &holdoff.Transport{
		Base: failsafehttp.NewRoundTripper(http.DefaultTransport, timeout.New[*http.Response](time.Second)),
		Classify: func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
			if errors.Is(err, timeout.ErrExceeded) {
				return holdoff.Verdict{Retry: holdoff.Idempotent(req), Lesson: holdoff.Unreachable, Reason: "timeout"}
			}
			return holdoff.DefaultClassify(req, resp, err)
		},
	}}
	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
}

// Without a verdict the errors of these policies are returned at once, and teach
// nothing about the host.
func TestPolicyErrors_AreFinalAndTeachNothing(t *testing.T) {
	open := circuitbreaker.NewWithDefaults[*http.Response]()
	open.Open()
	for want, base := range map[error]http.RoundTripper{
		circuitbreaker.ErrOpen: failsafehttp.NewRoundTripper(&api{}, open),
		timeout.ErrExceeded:    failsafehttp.NewRoundTripper(silent{}, timeout.New[*http.Response](time.Second)),
	} {
		t.Run(want.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport := &holdoff.Transport{Base: base}
				for range 30 {
					var out holdoff.Outcome
					_, err := get(holdoff.WithOutcome(t.Context(), &out), transport, "http://h/")
					if !errors.Is(err, want) || out.Attempts != 1 {
						t.Errorf("got %v after %d attempts, want %v after 1", err, out.Attempts, want)
					}
				}
				for state := range transport.Keys() {
					t.Errorf("got %v, want no unhealthy key", state)
				}
			})
		})
	}
}

// silent is a host that never answers.
type silent struct{}

func (silent) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, context.Cause(req.Context())
}
