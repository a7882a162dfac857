// Package redisserver runs real Redis servers outside of tests, as
// internal/redistest does within them.
package redisserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

// ErrNone is the error where this machine has no redis-server.
var ErrNone = errors.New("there is no redis-server on this machine")

// Start starts a server with the settings of redistest.Start. The caller calls
// stop in the end.
func Start(args ...string) (srv *redistest.Server, stop func(), err error) {
	h := &host{}
	defer func() {
		if r := recover(); r != nil {
			ended, ok := r.(ending)
			if !ok {
				panic(r)
			}
			h.stop()
			srv, stop, err = nil, nil, ended.err
		}
	}()
	return redistest.Start(h, args...), h.stop, nil
}

// Version returns the version of the server at addr.
func Version(ctx context.Context, addr string) (string, error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(info, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r\n")
	return version, nil
}

// Executed returns how many commands the server at addr counts so far, within
// scripts too, but for those that are sent to ask.
func Executed(ctx context.Context, addr string) (int64, error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	info, err := client.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, err
	}
	var sum int64
	for line := range strings.Lines(info) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		calls, _, found := strings.Cut(rest, ",")
		command, _, _ := strings.Cut(name, "|")
		if !found || command == "info" || command == "hello" || command == "client" {
			continue
		}
		n, err := strconv.ParseInt(calls, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("INFO commandstats: %w", err)
		}
		sum += n
	}
	return sum, nil
}

// host is the part of a test that redistest needs. A failure is a panic, as there
// is no test that could end.
type host struct {
	testing.TB
	cleanups []func()
}

type ending struct{ err error }

func (h *host) Helper()                           {}
func (h *host) Context() context.Context          { return context.Background() }
func (h *host) Cleanup(f func())                  { h.cleanups = append(h.cleanups, f) }
func (h *host) Skip(...any)                       { panic(ending{ErrNone}) }
func (h *host) Fatal(args ...any)                 { panic(ending{errors.New(fmt.Sprint(args...))}) }
func (h *host) Fatalf(format string, args ...any) { panic(ending{fmt.Errorf(format, args...)}) }

func (h *host) TempDir() string {
	dir, err := os.MkdirTemp("", "holdoff-bench-")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (h *host) stop() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
	h.cleanups = nil
}
