package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/retryapi"
	holdoffprom "github.com/go-holdoff/holdoff/telemetry/prometheus"
	holdoffslog "github.com/go-holdoff/holdoff/telemetry/slog"
)

// proxy serves requests for upstreams, and an operator's questions about them.
type proxy struct {
	log      *slog.Logger
	paths    []*served // the longest first
	admin    *http.ServeMux
	draining atomic.Bool
}

// served is an upstream in service.
type served struct {
	*upstream
	handler http.Handler
}

// newProxy puts upstreams into service. store may be nil.
func newProxy(upstreams []*upstream, store holdoff.Store, log *slog.Logger, hosts []string) *proxy {
	p := &proxy{log: log, admin: http.NewServeMux()}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, u := range upstreams {
		log := log.With("upstream", u.Name)
		transport := u.transport(store)
		collector := &holdoffprom.Collector{Transport: transport}
		page := &retryapi.Handler{Transport: transport, Hosts: hosts}
		events := holdoffslog.Observe(log)
		transport.Observe = func(ctx context.Context, e holdoff.Event) {
			collector.Observe(ctx, e)
			page.Observe(ctx, e)
			events(ctx, e)
		}
		prometheus.WrapRegistererWith(prometheus.Labels{"upstream": u.Name}, registry).MustRegister(collector)
		path := "/status/" + u.Name
		p.admin.Handle(path+"/", http.StripPrefix(path, page))
		p.paths = append(p.paths, &served{u, &httputil.ReverseProxy{
			Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(u.target) },
			Transport:    transport,
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { refuse(w, r, err, log) },
			ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		}})
	}
	slices.SortFunc(p.paths, func(a, b *served) int { return len(b.Path) - len(a.Path) })
	p.admin.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	p.admin.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	p.admin.HandleFunc("GET /readyz", p.ready)
	p.admin.HandleFunc("GET /{$}", p.index)
	return p
}

// ready says whether requests are to be sent here. That Redis is away is no reason against
// it: the proxy then holds alone.
func (p *proxy) ready(w http.ResponseWriter, _ *http.Request) {
	if p.draining.Load() {
		http.Error(w, "it ends", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// index lists what there is.
func (p *proxy) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	fmt.Fprint(w, "<!doctype html><html lang=en><title>holdoff proxy</title><h1>holdoff proxy</h1><ul>")
	for _, u := range p.paths { // names are plain: see check
		fmt.Fprintf(w, `<li><a href="/status/%s/">%s</a>`, u.Name, u.Name)
	}
	fmt.Fprint(w, `<li><a href="/metrics">metrics</a></ul></html>`)
}

// ServeHTTP sends a request to the upstream that its path names.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, u := range p.paths {
		if !strings.HasPrefix(r.URL.Path, u.Path) {
			continue
		}
		if r.ContentLength > u.MaxBody {
			tooLarge(w, u.MaxBody)
			return
		}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, r.Body, u.MaxBody)
		}
		http.StripPrefix(strings.TrimSuffix(u.Path, "/"), u.handler).ServeHTTP(w, r)
		return
	}
	http.Error(w, "no upstream has this path", http.StatusNotFound)
}

func tooLarge(w http.ResponseWriter, limit int64) {
	http.Error(w, fmt.Sprintf("the body is larger than %d bytes", limit), http.StatusRequestEntityTooLarge)
}

// refuse puts an error into HTTP, for services that know nothing of ours: a hold
// is a 503 with its Retry-After.
func refuse(w http.ResponseWriter, r *http.Request, err error, log *slog.Logger) {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		tooLarge(w, large.Limit)
		return
	}
	if held, ok := errors.AsType[*holdoff.HeldError](err); ok {
		seconds := math.Ceil(held.RetryAfter().Seconds())
		w.Header().Set("Retry-After", strconv.Itoa(int(max(seconds, 1))))
		http.Error(w, held.Error(), http.StatusServiceUnavailable)
		return
	}
	if r.Context().Err() != nil { // the service has hung up: nobody reads this
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	log.Warn("upstream failed", "method", r.Method, "route", holdoff.RouteOf(r), "error", err)
	http.Error(w, "the upstream can't be reached", http.StatusBadGateway)
}
