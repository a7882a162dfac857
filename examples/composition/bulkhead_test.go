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

	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"

	"github.com/go-holdoff/holdoff"
)

// failsafe-go's bulkhead inside: at most so many sends at a time. A send that found
// no place is tried again, and is no failure of the host.
func Example_bulkheadInside() {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()

	places := bulkhead.New[*http.Response](1)
	client := &http.Client{Transport: &holdoff.Transport{
		Base: failsafehttp.NewRoundTripper(http.DefaultTransport, places),
		Classify: func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
			if errors.Is(err, bulkhead.ErrFull) {
				return holdoff.Verdict{Retry: true, Reason: "bulkhead"}
			}
			return holdoff.DefaultClassify(req, resp, err)
		},
	}}

	places.TryAcquirePermit() // another request has the place
	time.AfterFunc(10*time.Millisecond, places.ReleasePermit)
	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
}

// Inside, who waits for a hold takes no place. Outside, a host that is held fills
// the bulkhead with waiters, and other hosts can't be reached.
func TestBulkheadAndHold(t *testing.T) {
	for name, want := range map[string]int{"inside": 200, "outside": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &api{answer: func(n int, req *http.Request) *http.Response {
					if n == 1 {
						return respond(429, "Retry-After: 10")
					}
					return respond(200)
				}}
				places := bulkhead.New[*http.Response](2)
				transport := &holdoff.Transport{Base: host, Route: oneScope}
				var rt http.RoundTripper = transport
				if name == "inside" {
					transport.Base = failsafehttp.NewRoundTripper(host, places)
				} else {
					rt = failsafehttp.NewRoundTripper(transport, places)
				}
				for range 2 {
					go get(t.Context(), rt, "http://held/")
				}
				time.Sleep(time.Second)
				got, err := get(t.Context(), rt, "http://fine/")
				if got != want || (want == 0 && !errors.Is(err, bulkhead.ErrFull)) {
					t.Errorf("the other host: got %d, %v; want %d", got, err, want)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// Without a word from Classify, a full bulkhead is an error that is returned: it is
// not retried, and holds no request.
func TestFullBulkheadTeachesNothing(t *testing.T) {
	places := bulkhead.New[*http.Response](1)
	transport := &holdoff.Transport{Base: failsafehttp.NewRoundTripper(&api{}, places)}
	places.TryAcquirePermit()
	for range 30 {
		var out holdoff.Outcome
		_, err := get(holdoff.WithOutcome(context.Background(), &out), transport, "http://h/")
		if !errors.Is(err, bulkhead.ErrFull) || out.Attempts != 1 {
			t.Errorf("got %v after %d attempts, want ErrFull after 1", err, out.Attempts)
		}
	}
	for state := range transport.Keys() {
		t.Errorf("got %v", state)
	}
}

// A place is free again when the response's headers are there: a bulkhead bounds
// requests, not downloads.
func TestPlaceIsFreeWithTheHeaders(t *testing.T) {
	places := bulkhead.New[*http.Response](1)
	host := &api{answer: func(int, *http.Request) *http.Response { return respond(200) }}
	transport := &holdoff.Transport{Base: failsafehttp.NewRoundTripper(host, places)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	wantStatus(t, transport, "http://h/", 200)
}

// With both, each hedge needs a place of its own. That it found none must not be
// what the attempt comes to, while the first send goes on.
func TestHedgeWithoutAPlace(t *testing.T) {
	notFull := func(_ *http.Response, err error) bool { return !errors.Is(err, bulkhead.ErrFull) }
	for name, tt := range map[string]struct {
		hedge hedgepolicy.HedgePolicy[*http.Response]
		want  int
	}{
		"any answer counts":   {hedgepolicy.NewWithDelay[*http.Response](100 * time.Millisecond), 0},
		"a full one does not": {hedgepolicy.NewBuilderWithDelay[*http.Response](100 * time.Millisecond).CancelIf(notFull).Build(), 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &api{
					took:   func(int) time.Duration { return time.Second },
					answer: func(int, *http.Request) *http.Response { return respond(200) },
				}
				places := bulkhead.New[*http.Response](1)
				transport := &holdoff.Transport{Base: failsafehttp.NewRoundTripper(host, tt.hedge, places)}
				wantStatus(t, transport, "http://h/", tt.want)
				if got := host.count(); got != 1 {
					t.Errorf("got %d sends, want 1", got)
				}
			})
		})
	}
}
