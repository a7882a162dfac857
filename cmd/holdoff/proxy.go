package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff"
)

func setupProxy(flags *flag.FlagSet) func(context.Context, *env, []string) error {
	var c connection
	c.define(flags)
	// Without a Redis, holds are this proxy's own.
	c.url = ""
	flags.Lookup("redis-url").DefValue = ""
	var (
		listen  = flags.String("listen", "127.0.0.1:8080", "where services find the proxy: `host:port`")
		admin   = flags.String("admin", "127.0.0.1:8081", "where operators find /metrics, /healthz, /readyz and the page: `host:port`; empty for nowhere")
		hosts   = flags.String("admin-hosts", "", "`names`, with commas, under which the page may be reached, or *: see Handler.Hosts")
		config  = flags.String("config", "", "YAML `file` with upstreams")
		level   = flags.String("log-level", "info", "debug, info, warn or error; each attempt is logged at debug")
		delay   = flags.Duration("drain-delay", 0, "how long requests are accepted when /readyz says no already")
		drain   = flags.Duration("drain-timeout", 30*time.Second, "how long requests that are under way may take at the end")
		maxWait = flags.Duration("max-wait", 0, "longest wait of a request, below the service's own timeout, where -config says none (default 1m0s)")
	)
	var named upstreamList
	flags.Var(&named, "upstream", "`URL` of an API, or name=URL for requests to /name/...; repeatable, or with commas")
	return func(ctx context.Context, e *env, rest []string) error {
		if len(rest) > 0 {
			return usagef("it takes no arguments, and got %q", rest)
		}
		upstreams := []*upstream(named)
		if *config != "" {
			more, err := readUpstreams(*config)
			if err != nil {
				return err
			}
			upstreams = append(upstreams, more...)
		}
		if err := check(upstreams); err != nil {
			return err
		}
		for _, u := range upstreams {
			if u.MaxWait == 0 {
				u.MaxWait = *maxWait
			}
		}
		var atLeast slog.Level
		if err := atLeast.UnmarshalText([]byte(*level)); err != nil {
			return usagef("-log-level is %q; it must be debug, info, warn or error", *level)
		}
		if *drain < 0 || *delay < 0 {
			return usagef("-drain-timeout and -drain-delay must not be negative")
		}
		log := slog.New(slog.NewJSONHandler(e.err, &slog.HandlerOptions{Level: atLeast}))
		var store holdoff.Store
		if c.url != "" {
			client, err := c.open()
			if err != nil {
				return err
			}
			defer client.Close()
			shared, err := holdoff.NewRedisStore(client, holdoff.RedisOptions{Namespace: c.namespace, Prefix: c.prefix, MaxHold: longest(upstreams)})
			if err != nil {
				return usageError{err}
			}
			defer shared.Close()
			store = shared
			if err := shared.Err(); err != nil {
				log.Warn("Redis is away: holds are not shared until it is back", "error", c.hide(err))
			}
		}
		p := newProxy(upstreams, store, log, fields(*hosts))
		return p.serve(ctx, *listen, *admin, *delay, *drain)
	}
}

// upstreamList is the value of -upstream.
type upstreamList []*upstream

func (l *upstreamList) String() string { return "" }

func (l *upstreamList) Set(text string) error {
	for _, one := range fields(text) {
		*l = append(*l, upstreamOf(one))
	}
	return nil
}

// fields are the parts of a text between commas.
func fields(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// longest is the longest hold that an upstream's server can cause.
func longest(upstreams []*upstream) (d time.Duration) {
	for _, u := range upstreams {
		d = max(d, u.MaxHold)
	}
	if d > 0 {
		d = max(d, 5*time.Minute) // the default of the others
	}
	return d
}

// serve serves until ctx ends, and then until what is under way has ended.
func (p *proxy) serve(ctx context.Context, listen, admin string, delay, drain time.Duration) error {
	front, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	defer front.Close()
	ends, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	errorLog := slog.NewLogLogger(p.log.Handler(), slog.LevelWarn)
	server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: errorLog}
	operators := &http.Server{
		Handler: p.admin, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: errorLog, BaseContext: func(net.Listener) context.Context { return ends }, // ends the streams of pages
	}
	failed := make(chan error, 2)
	address := ""
	if admin != "" {
		back, err := net.Listen("tcp", admin)
		if err != nil {
			return fmt.Errorf("-admin: %w", err)
		}
		address = back.Addr().String()
		go func() { failed <- operators.Serve(back) }()
	}
	go func() { failed <- server.Serve(front) }()
	p.log.Info("proxy serves", "listen", front.Addr().String(), "admin", address, "upstreams", len(p.paths))
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	p.draining.Store(true)
	p.log.Info("proxy drains", "timeout", drain.String())
	time.Sleep(delay)
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err = server.Shutdown(bounded)
	if errors.Is(err, context.DeadlineExceeded) {
		p.log.Warn("requests were cut off", "after", drain.String())
		err = server.Close()
	}
	end()
	return errors.Join(err, operators.Close())
}
