package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/retryapi"
)

// answers is a Base that answers with statuses in turn, and with the last of them
// again and again. With a 429 it asks for 30 seconds of silence.
func answers(statuses ...int) http.RoundTripper {
	return baseFunc(func(req *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: statuses[0], Header: http.Header{}, Body: http.NoBody, Request: req}
		if resp.StatusCode == http.StatusTooManyRequests {
			resp.Header.Set("Retry-After", "30")
		}
		statuses = statuses[min(1, len(statuses)-1):]
		return resp, nil
	})
}

// do sends a request, and says what became of it.
func do(ctx context.Context, transport http.RoundTripper, method, url string) string {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := transport.RoundTrip(req)
	if _, held := errors.AsType[*holdoff.HeldError](err); held {
		return "held, not sent"
	}
	if err != nil {
		return err.Error()
	}
	resp.Body.Close()
	return fmt.Sprint(resp.StatusCode)
}

const invoices = "https://api.example.com/invoices"

// Every field of a policy that has a number.
func ExampleTransport() {
	base := answers(503, 200)
	client := &http.Client{
		Timeout: time.Minute, // of all attempts and waits together
		Transport: &holdoff.Transport{
			Base:              base,
			MaxAttempts:       6,                // one send, and five retries
			PerAttemptTimeout: 10 * time.Second, // until response headers
			MaxWait:           30 * time.Second, // of one request, in all
			MaxHold:           10 * time.Minute, // that a server may ask for
			Budget:            50,               // retries per key in a burst
			Backoff:           holdoff.Exponential{Cap: 5 * time.Second, Jitter: holdoff.EqualJitter},
		},
	}
	resp, err := client.Get("https://api.example.com/invoices")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
}

// Where an SDK retries by itself, and signs each attempt, it is left to do so.
// Holds are obeyed and reported all the same.
func ExampleTransport_maxAttempts() {
	transport := &holdoff.Transport{Base: answers(503, 429), MaxAttempts: 1, MaxWait: -1}
	for range 3 {
		fmt.Println(do(context.Background(), transport, "GET", invoices))
	}
	// Output:
	// 503
	// 429
	// held, not sent
}

// An attempt that gets no answer is ended, and followed by another.
func ExampleTransport_perAttemptTimeout() {
	transport := &holdoff.Transport{
		PerAttemptTimeout: 100 * time.Millisecond,
		Base: baseFunc(func(req *http.Request) (*http.Response, error) {
			if holdoff.Attempt(req.Context()) == 0 {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return answers(200).RoundTrip(req)
		}),
	}
	fmt.Println(do(context.Background(), transport, "GET", invoices))
	// Output: 200
}

// A budget bounds what retries add to the load of a server that fails.
func ExampleTransport_budget() {
	transport := &holdoff.Transport{
		Base:    answers(500),
		Budget:  2,
		Backoff: holdoff.Exponential{Base: time.Millisecond},
	}
	for range 2 {
		var out holdoff.Outcome
		ctx := holdoff.WithOutcome(context.Background(), &out)
		fmt.Println(do(ctx, transport, "GET", invoices), out.Attempts, out.Ended)
	}
	// Output:
	// 500 3 budget
	// 500 1 budget
}

// constant is a Backoff.
type constant time.Duration

func (c constant) Delay(holdoff.Retry) time.Duration { return time.Duration(c) }

// Whatever has a method Delay is a Backoff. A hint of the server goes before it.
func ExampleTransport_backoff() {
	transport := &holdoff.Transport{
		Base:    answers(502, 502, 200),
		Backoff: constant(10 * time.Millisecond),
	}
	fmt.Println(do(context.Background(), transport, "GET", invoices))
	// Output: 200
}

// The delays of a policy without jitter.
func ExampleExponential() {
	steady := holdoff.Exponential{Base: 100 * time.Millisecond, Cap: time.Second, Jitter: holdoff.NoJitter}
	for attempt := range 5 {
		fmt.Println(attempt, steady.Delay(holdoff.Retry{Attempt: attempt}))
	}
	// Output:
	// 0 100ms
	// 1 200ms
	// 2 400ms
	// 3 800ms
	// 4 1s
}

// Equal jitter keeps half of the wait as a floor.
func ExampleExponential_jitter() {
	spread := holdoff.Exponential{Base: 100 * time.Millisecond, Jitter: holdoff.EqualJitter}
	d := spread.Delay(holdoff.Retry{Attempt: 2})
	fmt.Println(200*time.Millisecond <= d && d <= 400*time.Millisecond)
	// Output: true
}

// A service answers 404 for a moment after something was made. All other verdicts
// are DefaultClassify's.
func ExampleTransport_classify() {
	transport := &holdoff.Transport{
		Base: answers(404, 200),
		Classify: func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
			if err == nil && resp.StatusCode == http.StatusNotFound && holdoff.Idempotent(req) {
				return holdoff.Verdict{Retry: true, Lesson: holdoff.Good, Reason: "not there yet"}
			}
			return holdoff.DefaultClassify(req, resp, err)
		},
	}
	fmt.Println(do(context.Background(), transport, "GET", invoices))
	// Output: 200
}

// Where limits are per tenant, a hold is as well.
func ExampleTransport_key() {
	transport := &holdoff.Transport{
		Base:    answers(429, 200),
		MaxWait: -1,
		Key: func(req *http.Request) string {
			tenant, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
			return req.URL.Host + " " + tenant
		},
	}
	for _, path := range []string{"/north/orders", "/north/orders", "/south/orders"} {
		fmt.Println(path, do(context.Background(), transport, "GET", "https://api.example.com"+path))
	}
	// Output:
	// /north/orders 429
	// /north/orders held, not sent
	// /south/orders 200
}

// Two replicas share what one of them is told. Across processes, it is a
// RedisStore that they share.
func ExampleTransport_store() {
	store := &holdoff.MemoryStore{}
	replica := func(status int) *holdoff.Transport {
		return &holdoff.Transport{Base: answers(status), MaxWait: -1, Store: store}
	}
	// One replica alone may have a limit of its own: a limit per address, say.
	fmt.Println(do(context.Background(), replica(429), "GET", invoices))
	fmt.Println(do(context.Background(), replica(429), "GET", invoices))
	other := replica(200)
	for held := false; !held; time.Sleep(time.Millisecond) { // no request waits for a store
		for key := range other.Keys() {
			held = held || key.Scope.Replica == "" // for all replicas
		}
	}
	fmt.Println(do(context.Background(), other, "GET", invoices))
	// Output:
	// 429
	// 429
	// held, not sent
}

func ExampleTransport_observe() {
	transport := &holdoff.Transport{
		Base:    answers(503, 200),
		Backoff: holdoff.Exponential{Base: time.Millisecond, Jitter: holdoff.NoJitter},
		Observe: func(_ context.Context, e holdoff.Event) {
			if e.Kind == holdoff.Attempted {
				fmt.Println(e.Key, e.Method, e.Attempt, e.Status, e.Reason)
			}
		},
	}
	do(context.Background(), transport, "GET", invoices)
	// Output:
	// https://api.example.com GET 0 503 server error
	// https://api.example.com GET 1 200 ok
}

// Why is nothing being sent? Keys tells.
func ExampleTransport_Keys() {
	transport := &holdoff.Transport{Base: answers(429), MaxWait: -1}
	do(context.Background(), transport, "GET", invoices)
	for key := range transport.Keys() {
		left := time.Until(key.Until)
		fmt.Println(key.Key, key.Phase, key.Status, key.Attempts, 20*time.Second < left && left <= 30*time.Second)
	}
	// Output: https://api.example.com held 429 1 true
}

// A request that is given up is kept, to be sent later.
func ExampleTransport_park() {
	lot, err := retryapi.NewMemoryLot(retryapi.Bounds{})
	if err != nil {
		fmt.Println(err)
		return
	}
	transport := &holdoff.Transport{Base: answers(503), MaxAttempts: 2, Park: lot}
	var out holdoff.Outcome
	fmt.Println(do(holdoff.WithOutcome(context.Background(), &out), transport, "GET", invoices))

	parked, _, _ := lot.List(context.Background(), 10)
	for _, p := range parked {
		fmt.Println(p.Method, p.URL, p.Attempt, p.Ended, p.ID == out.Parked)
	}
	// Output:
	// 503
	// GET https://api.example.com/invoices 2 attempts true
}

// A POST that does no harm when it is done twice may say so.
func ExampleWithIdempotent() {
	ctx := context.Background()
	fmt.Println(do(ctx, &holdoff.Transport{Base: answers(503, 200)}, "POST", invoices))
	ctx = holdoff.WithIdempotent(ctx)
	fmt.Println(do(ctx, &holdoff.Transport{Base: answers(503, 200)}, "POST", invoices))
	// Output:
	// 503
	// 200
}

// A loop that retries by itself keeps the Transport from doing it too.
func ExampleWithoutRetry() {
	transport := &holdoff.Transport{Base: answers(503, 200)}
	ctx := holdoff.WithoutRetry(context.Background())
	for attempt := range 3 {
		status := do(ctx, transport, "GET", invoices)
		fmt.Println(attempt, status)
		if status == "200" {
			break
		}
	}
	// Output:
	// 0 503
	// 1 200
}

// What is below the Transport sees each attempt, and its number: to sign it, to
// count it, or to make a span of it.
func ExampleAttempt() {
	signed := baseFunc(func(req *http.Request) (*http.Response, error) {
		fmt.Println("signing attempt", holdoff.Attempt(req.Context()))
		if holdoff.Attempt(req.Context()) == 0 {
			return answers(503).RoundTrip(req)
		}
		return answers(200).RoundTrip(req)
	})
	fmt.Println(do(context.Background(), &holdoff.Transport{Base: signed}, "GET", invoices))
	// Output:
	// signing attempt 0
	// signing attempt 1
	// 200
}

// What the default makes of some outcomes.
func ExampleDefaultClassify_verdicts() {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		req, _ := http.NewRequest(method, invoices, nil)
		for _, status := range []int{400, 429, 503} {
			resp, _ := answers(status).RoundTrip(req)
			v := holdoff.DefaultClassify(req, resp, nil)
			fmt.Println(method, status, v.Retry, v.Lesson, v.Hint, v.Reason)
		}
	}
	// Output:
	// GET 400 false good 0s client error
	// GET 429 true refused 30s too many requests
	// GET 503 true failed 0s server error
	// POST 400 false good 0s client error
	// POST 429 true refused 30s too many requests
	// POST 503 false failed 0s not idempotent
}

// A MemoryStore has the keys that are not healthy.
func ExampleMemoryStore_All() {
	store := &holdoff.MemoryStore{}
	report := holdoff.Report{Replica: "a", Status: 429, Hint: 30 * time.Second, ServerDirected: true}
	reply, err := store.Report(context.Background(), "https://api.example.com", report)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(reply.Snapshot.Phase, slices.Collect(maps.Keys(maps.Collect(store.All()))))
	// Output: held [https://api.example.com]
}
