package composition

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"

	"github.com/go-holdoff/holdoff"
)

// idempotentOnly hedges what may be done twice, and sends the rest plainly:
// failsafehttp hedges everything that it is given, and reads its body into memory.
type idempotentOnly struct{ hedged, plain http.RoundTripper }

func (i idempotentOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	if holdoff.Idempotent(req) {
		return i.hedged.RoundTrip(req)
	}
	return i.plain.RoundTrip(req)
}

// failsafe-go's hedge inside: of a slow attempt there are two, and the first answer
// counts. The Transport sees one attempt, and one outcome.
func Example_hedgeInside() {
	var sends atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if sends.Add(1) == 1 {
			<-r.Context().Done() // the first is stuck
		}
	}))
	defer server.Close()

	base := http.DefaultTransport
	hedge := hedgepolicy.NewWithDelay[*http.Response](100 * time.Millisecond)
	client := &http.Client{Transport: &holdoff.Transport{
		Base: idempotentOnly{hedged: failsafehttp.NewRoundTripper(base, hedge), plain: base},
	}}

	var out holdoff.Outcome
	req, _ := http.NewRequestWithContext(holdoff.WithOutcome(context.Background(), &out), http.MethodGet, server.URL, nil)
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode, "sends:", sends.Load(), "attempts:", out.Attempts)
	// Output: 200 sends: 2 attempts: 1
}

// Inside, who waits for a hold is not hedged. Outside, waiting looks like a slow
// server: each request stands in line twice, and each is sent twice at the end.
func TestHedgeAndHold(t *testing.T) {
	const callers = 5
	for name, want := range map[string]struct{ waiters, sends int }{
		"inside":  {callers, callers},
		"outside": {2 * callers, 2 * callers},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &api{
					took: func(int) time.Duration { return 50 * time.Millisecond },
					answer: func(n int, _ *http.Request) *http.Response {
						if n == 1 {
							return respond(429, "Retry-After: 10")
						}
						return respond(200)
					},
				}
				hedge := hedgepolicy.NewWithDelay[*http.Response](100 * time.Millisecond)
				transport := &holdoff.Transport{Base: host}
				var rt http.RoundTripper = transport
				if name == "inside" {
					transport.Base = failsafehttp.NewRoundTripper(host, hedge)
				} else {
					rt = failsafehttp.NewRoundTripper(transport, hedge)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				get(ctx, transport, "http://h/") // this one is refused
				cancel()

				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() { wantStatus(t, rt, "http://h/", 200) })
				}
				time.Sleep(5 * time.Second)
				waiters := 0
				for state := range transport.Keys() {
					waiters += state.Waiters
				}
				if waiters != want.waiters {
					t.Errorf("got %d in line, want %d", waiters, want.waiters)
				}
				wg.Wait()
				time.Sleep(time.Minute)
				// A hedge that loses may be cancelled before it is sent.
				if got := host.count() - 1; got > want.sends || (name == "outside" && got <= callers) {
					t.Errorf("got %d sends, want %d", got, want.sends)
				}
			})
		})
	}
}

// What hedging costs inside: a probe that is slower than the hedge's delay is two
// sends. A delay above the host's usual latency keeps that rare.
func TestSlowProbeIsHedged(t *testing.T) {
	for delay, want := range map[time.Duration]int{100 * time.Millisecond: 2, 300 * time.Millisecond: 1} {
		t.Run(fmt.Sprint(delay), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &api{
					took: func(int) time.Duration { return 200 * time.Millisecond },
					answer: func(n int, _ *http.Request) *http.Response {
						if n == 1 {
							return respond(429, "Retry-After: 10")
						}
						return respond(200)
					},
				}
				refused := &holdoff.Transport{Base: host, MaxWait: -1, Store: &holdoff.MemoryStore{}}
				hedge := hedgepolicy.NewWithDelay[*http.Response](delay)
				transport := &holdoff.Transport{Base: failsafehttp.NewRoundTripper(host, hedge), Store: refused.Store}
				get(t.Context(), refused, "http://h/")
				synctest.Wait()
				wantStatus(t, transport, "http://h/", 200)
				time.Sleep(time.Second)
				if got := host.count() - 1; got != want {
					t.Errorf("the probe was sent %d times, want %d", got, want)
				}
			})
		})
	}
}
