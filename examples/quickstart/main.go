// Quickstart calls a small server that throttles and fails as real APIs do,
// through an http.Client with a holdoff.Transport, and prints what happens,
// attempt by attempt. With -url it calls a server of yours instead.
//
// This file is the client; server.go is the server, and story.go puts the
// Transport's events into words.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"
)

const (
	pause   = 500 * time.Millisecond // of a caller between requests: slow enough to read along
	timeout = 10 * time.Second       // of one request, with all its attempts and waits

	maxRequests = 10_000
	maxCallers  = 100
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit status: 0 only if every request was served.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	target, requests, callers, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if target == "" {
		server, err := serve()
		if err != nil {
			fmt.Fprintln(stderr, "quickstart:", err)
			return 1
		}
		defer server.Close()
		target = "http://" + server.Addr
	}
	fmt.Fprintf(stdout, "Calling %s. Requests: %d, callers: %d, time for each request: %v.\n", target, requests, callers, timeout)
	fmt.Fprintf(stdout, "Attempts count from 0. Ctrl-C ends it early.\n\n")

	// This is all that it takes: wherever there is an http.Client, give it a
	// Transport. Observe is only here to have something to show.
	story := &story{out: stdout, start: time.Now()}
	client := &http.Client{Transport: &holdoff.Transport{Observe: story.tell}}
	defer client.CloseIdleConnections()

	var last atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			sleep(ctx, pause*time.Duration(i)/time.Duration(callers)) // callers do not start in step
			for n := int(last.Add(1)); n <= requests && ctx.Err() == nil; n = int(last.Add(1)) {
				story.add(get(withName(ctx, i+1, n), client, target))
				if int(last.Load()) < requests {
					sleep(ctx, pause)
				}
			}
		})
	}
	wg.Wait()

	if story.summary(requests) < requests {
		return 1
	}
	return 0
}

// get makes one request. Nothing in it knows about retries, except the Outcome,
// which is there for callers who want to know.
func get(ctx context.Context, client *http.Client, target string) (holdoff.Outcome, error) {
	var outcome holdoff.Outcome
	ctx, cancel := context.WithTimeout(holdoff.WithOutcome(ctx, &outcome), timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return outcome, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return outcome, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		return outcome, errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return outcome, err
}

// parse reads the flags. It has told what is wrong with them when it returns an error.
func parse(args []string, stderr io.Writer) (target string, requests, callers int, err error) {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&target, "url", "", "call this `URL` with GET, instead of the built-in server")
	flags.IntVar(&requests, "n", 16, fmt.Sprintf("make `N` requests in all, 1 to %d", maxRequests))
	flags.IntVar(&callers, "c", 4, fmt.Sprintf("make them by `C` concurrent callers, 1 to %d", maxCallers))
	if err := flags.Parse(args); err != nil {
		return "", 0, 0, err
	}
	u, urlErr := url.Parse(target)
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q; a URL is given as -url URL", flags.Arg(0))
	case target != "" && (urlErr != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https")):
		err = fmt.Errorf("-url is %q; it must be an http:// or https:// URL", target)
	case requests < 1 || requests > maxRequests:
		err = fmt.Errorf("-n is %d; it must be 1 to %d", requests, maxRequests)
	case callers < 1 || callers > maxCallers:
		err = fmt.Errorf("-c is %d; it must be 1 to %d", callers, maxCallers)
	}
	if err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
	}
	return target, requests, min(callers, requests), err
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// name is how the story finds out whose attempt an event is about: the
// Transport hands it the request's own context.
type name struct{}

func withName(ctx context.Context, caller, request int) context.Context {
	return context.WithValue(ctx, name{}, fmt.Sprintf("caller %d, request %d", caller, request))
}

func nameOf(ctx context.Context) string {
	who, _ := ctx.Value(name{}).(string)
	return cmp.Or(who, "all") // holds are not about one request
}
