// LLM lets four replicas share the tokens of one LLM API, of which all together they could
// use three times as many as there are. It does so twice, with a client that retries each
// by itself, and with holdoff, and prints what was used and refused.
//
// This file is the clients; server.go is the API, which lives in this process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
)

const (
	replicas = 4
	callers  = 3 // of each replica
	size     = 10000
	rate     = 2000
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("llm", flag.ContinueOnError)
	flags.SetOutput(stderr)
	span := flags.Duration("for", 30*time.Second, "call the API for this `time`, with each of the clients")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "llm: unexpected argument %q\n", flags.Arg(0))
		return 2
	case *span <= 0:
		fmt.Fprintf(stderr, "llm: -for is %v; it must be positive\n", *span)
		return 2
	}
	fmt.Fprintf(stdout, "%d replicas of %d callers; the API has a bucket of %d tokens, and refills %d per second\n", replicas, callers, size, rate)
	fmt.Fprintf(stdout, "%-28s%8s%9s%8s%13s\n", "", "served", "refused", "failed", "tokens used")
	without := func() http.RoundTripper { return &retrying{} }
	store := &holdoff.MemoryStore{} // processes of their own use a RedisStore
	with := func() http.RoundTripper { return &holdoff.Transport{Store: store} }
	report(ctx, stdout, "each retries by itself", *span, without)
	report(ctx, stdout, "holdoff", *span, with)
	return 0
}

// report lets a fleet call the API, and prints what came of it.
func report(ctx context.Context, w io.Writer, name string, span time.Duration, replica func() http.RoundTripper) {
	m := newModel(size, rate)
	server := httptest.NewServer(m)
	defer server.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	time.AfterFunc(span, cancel)
	var all sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for range replicas {
		client := &http.Client{Transport: replica()}
		for range callers {
			all.Go(func() {
				for ctx.Err() == nil {
					if err := complete(ctx, client, server.URL); err != nil && ctx.Err() == nil {
						mu.Lock()
						failed++
						mu.Unlock()
					}
				}
			})
		}
	}
	all.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	share := m.used / (size + rate*span.Seconds())
	fmt.Fprintf(w, "%-28s%8d%9d%8d%11.0f %%\n", name, m.served, m.refused, failed, 100*share)
}

// complete makes one call, of 500 to 4000 tokens.
func complete(ctx context.Context, client *http.Client, url string) error {
	tokens := 500 + rand.IntN(3501)
	// What the call may cost is known before: the prompt, and the longest answer.
	ctx = holdoff.WithCost(holdoff.WithIdempotent(ctx), holdoff.Cost{"tokens": float64(tokens)})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", strings.NewReader(`{"prompt":"..."}`))
	if err != nil {
		return err
	}
	req.Header.Set("X-Tokens", strconv.Itoa(tokens))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// retrying sends a request that is refused up to four times, after 0.5 s, 1 s and 2 s.
type retrying struct{}

func (retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	delay := 500 * time.Millisecond
	for attempt := 0; ; attempt++ {
		again := req.Clone(req.Context())
		if req.GetBody != nil {
			again.Body, _ = req.GetBody()
		}
		resp, err := http.DefaultTransport.RoundTrip(again)
		if err != nil || resp.StatusCode != http.StatusTooManyRequests || attempt == 3 {
			return resp, err
		}
		resp.Body.Close()
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-time.After(delay + time.Duration(rand.Int64N(int64(delay)))/2):
		}
		delay *= 2
	}
}
