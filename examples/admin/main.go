// Admin calls services that throttle and fail as real APIs do, and serves a page
// that shows what is held and why, who waits, and which requests were given up:
// these can be sent again from there. It plays two replicas, which share what
// they are told; the page is that of the first.
//
// This file is the client and the page; server.go is the services, which live
// in this process, whatever their names say.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/retryapi"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("admin", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "serve the page at this `address`; it has no authentication, so keep it on the loopback interface")
	span := flags.Duration("for", 0, "end after this `time`; 0 means at Ctrl-C")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "admin: unexpected argument %q\n", flags.Arg(0))
		return 2
	case *span < 0:
		fmt.Fprintf(stderr, "admin: -for is %v; it must not be negative\n", *span)
		return 2
	}
	if *span > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *span)
		defer cancel()
	}
	if err := serve(ctx, *addr, stdout); err != nil {
		fmt.Fprintln(stderr, "admin:", err)
		return 1
	}
	return 0
}

// serve runs it all until ctx ends.
func serve(ctx context.Context, addr string, stdout io.Writer) error {
	services, err := listen("127.0.0.1:0", &services{start: time.Now()})
	if err != nil {
		return err
	}
	defer services.Close()

	lot, err := retryapi.NewMemoryLot(retryapi.Bounds{Requests: 100})
	if err != nil {
		return err
	}
	base, store := to(services.Addr), new(holdoff.MemoryStore)
	handler := &retryapi.Handler{Lot: lot}
	handler.Transport = &holdoff.Transport{
		Base:    base,
		MaxWait: 5 * time.Second,
		Store:   store,
		Park:    lot,
		Observe: handler.Observe,
	}
	other := &holdoff.Transport{Base: base, MaxWait: 5 * time.Second, Store: store}
	// A service would have its own authentication around this.
	mux := http.NewServeMux()
	mux.Handle("/holdoff/", handler)
	mux.Handle("/{$}", http.RedirectHandler("/holdoff/", http.StatusFound))
	admin, err := listen(addr, mux)
	if err != nil {
		return err
	}
	defer admin.Close() // also the pages that are open: they never end by themselves

	fmt.Fprintf(stdout, "Open http://%s/ in a browser. Ctrl-C ends it.\n", admin.Addr)
	fmt.Fprintln(stdout, "What is held comes and goes; after half a minute there are parked requests too.")

	first, second := &http.Client{Transport: handler.Transport}, &http.Client{Transport: other}
	defer first.CloseIdleConnections()
	var callers sync.WaitGroup
	for _, c := range []struct {
		client      *http.Client
		method, url string
		every       time.Duration
	}{
		{first, http.MethodPost, "http://billing.example/v1/charges", 700 * time.Millisecond},
		{first, http.MethodGet, "http://search.example/find?q=shoes", 300 * time.Millisecond},
		{first, http.MethodPost, "http://mail.example/messages", 4 * time.Second},
		{first, http.MethodPut, "http://files.example/nightly.tar", time.Second},
		{first, http.MethodGet, "http://maps.example/tiles/7/66/42", 500 * time.Millisecond},
		{first, http.MethodGet, "http://rates.example/daily", 5 * time.Second},
		{second, http.MethodGet, "http://rates.example/daily", 200 * time.Millisecond},
	} {
		callers.Go(func() {
			tick := time.NewTicker(c.every)
			defer tick.Stop()
			for n := 1; ; n++ {
				callers.Go(func() { call(ctx, c.client, c.method, c.url, n) })
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	<-ctx.Done()
	callers.Wait()
	return nil
}

// call makes one request. What becomes of it, the page tells.
func call(ctx context.Context, client *http.Client, method, url string, n int) {
	var body io.Reader
	if method != http.MethodGet {
		body = strings.NewReader(fmt.Sprintf(`{"number":%d}`, n))
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return
	}
	if method == http.MethodPost {
		req.Header.Set("Idempotency-Key", fmt.Sprintf("example-%d", n))
	}
	resp, err := client.Do(req)
	if err != nil {
		return
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// to returns a transport that reaches every name at one address.
func to(addr string) http.RoundTripper {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     time.Minute,
	}
}

// listen starts a server. Its address is in Addr.
func listen(addr string, h http.Handler) (*http.Server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Addr: listener.Addr().String(), Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	return server, nil
}
