// Sidecar is a Transport for services that aren't written in Go: a reverse proxy to
// one API, to be run beside each replica of the service. The service calls the
// sidecar instead of the API, and all sidecars share what one of them is told.
//
//	sidecar -upstream https://api.example.com -redis localhost:6379 -namespace billing
//	curl http://127.0.0.1:8080/v1/invoices
//
// It has no authentication and adds none: any client that reaches it can call the API with
// their own credentials. It listens on the loopback unless told otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
)

type options struct {
	listen, redis, namespace string

	upstream *url.URL
	maxWait  time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sidecar:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("sidecar", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080", "where the service finds the sidecar: `host:port`")
	flags.StringVar(&o.redis, "redis", "", "share holds through the Redis at `host:port`; without it, they are this sidecar's own")
	flags.StringVar(&o.namespace, "namespace", "sidecar", "`name` of those that share holds")
	flags.DurationVar(&o.maxWait, "max-wait", 0, "longest wait of a request, below the service's own timeout (default 1m)")
	upstream := flags.String("upstream", "", "the API's `URL`")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.upstream, err = url.Parse(*upstream)
	if err != nil || o.upstream.Host == "" || (o.upstream.Scheme != "http" && o.upstream.Scheme != "https") {
		return o, fmt.Errorf("-upstream is %q; it must be an http:// or https:// URL", *upstream)
	}
	return o, nil
}

// run serves until ctx ends.
func run(ctx context.Context, o options, stdout io.Writer) error {
	transport := &holdoff.Transport{MaxWait: o.maxWait}
	if o.redis != "" {
		client := redis.NewClient(&redis.Options{Addr: o.redis})
		defer client.Close()
		store, err := holdoff.NewRedisStore(client, holdoff.RedisOptions{Namespace: o.namespace})
		if err != nil {
			return err
		}
		defer store.Close()
		transport.Store = store
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "http://%s is %s\n", listener.Addr(), o.upstream)

	server := &http.Server{Handler: proxy(o.upstream, transport), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

// proxy sends what it gets to upstream, through transport.
func proxy(upstream *url.URL, transport http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport:    transport,
		ErrorHandler: refuse,
	}
}

// refuse puts an error into HTTP, for services that know nothing of ours: a hold
// is a 503 with its Retry-After.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	held, ok := errors.AsType[*holdoff.HeldError](err)
	switch {
	case ok:
		seconds := math.Ceil(held.RetryAfter().Seconds())
		w.Header().Set("Retry-After", strconv.Itoa(int(max(seconds, 1))))
		http.Error(w, held.Error(), http.StatusServiceUnavailable)
	case r.Context().Err() != nil: // the service has hung up, and reads no answer
		w.WriteHeader(http.StatusBadGateway)
	default:
		http.Error(w, "the API can't be reached", http.StatusBadGateway)
	}
}
