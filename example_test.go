package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
)

// flaky is a server that answers with statuses in turn, then with 200.
func flaky(header http.Header, statuses ...int) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if len(statuses) == 0 {
			return
		}
		maps.Copy(w.Header(), header)
		w.WriteHeader(statuses[0])
		statuses = statuses[1:]
	}))
}

func Example() {
	server := flaky(nil, 503, 502)
	defer server.Close()

	client := &http.Client{
		Transport: &holdoff.Transport{},
		Timeout:   10 * time.Second, // for all attempts and waits together
	}
	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
}

// One line makes a fleet of replicas obey what one of them was told.
func ExampleNewRedisStore() {
	serve := func() error {
		rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"}) // github.com/redis/go-redis/v9
		store, err := holdoff.NewRedisStore(rdb, holdoff.RedisOptions{Namespace: "billing"})
		if err != nil {
			return err // invalid options; an unreachable Redis is not an error
		}
		defer store.Close()
		client := &http.Client{Transport: &holdoff.Transport{Store: store}}

		_, err = client.Get("https://api.example.com/invoices")
		return err
	}
	if err := serve(); err != nil {
		fmt.Println(err)
	}
}

func ExampleWithOutcome() {
	server := flaky(nil, 503)
	defer server.Close()

	ctx := context.Background()
	var out holdoff.Outcome
	ctx = holdoff.WithOutcome(ctx, &out) // attempts made, time waited, why it ended

	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	client := &http.Client{Transport: &holdoff.Transport{}}
	if resp, err := client.Do(req); err == nil {
		resp.Body.Close()
	}
	fmt.Println(out.Attempts, out.Status, out.Ended)
	// Output: 2 200 done
}

// A host that is held for longer than a request may wait is not asked.
func ExampleHeldError() {
	server := flaky(http.Header{"Retry-After": {"30"}}, 429)
	defer server.Close()

	client := &http.Client{Transport: &holdoff.Transport{MaxWait: 5 * time.Second}}
	resp, _ := client.Get(server.URL) // the response that says so
	fmt.Println(resp.StatusCode)
	resp.Body.Close()

	_, err := client.Get(server.URL) // and what follows it
	if held, ok := errors.AsType[*holdoff.HeldError](err); ok {
		fmt.Println("not sent; try again in", held.RetryAfter().Round(time.Second))
	}
	// Output:
	// 429
	// not sent; try again in 30s
}

// A classifier that never resends what is not idempotent, also where the server
// refused it with a hint.
func ExampleDefaultClassify() {
	server := flaky(http.Header{"Retry-After": {"1"}}, 429)
	defer server.Close()

	client := &http.Client{Transport: &holdoff.Transport{
		Classify: func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
			v := holdoff.DefaultClassify(req, resp, err)
			v.Retry = v.Retry && holdoff.Idempotent(req)
			return v
		},
	}}
	resp, err := client.Post(server.URL, "text/plain", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 429
}
