package virtual

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

func send(ctx context.Context, t *testing.T, rt http.RoundTripper) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example/0", nil)
	if err != nil {
		t.Fatal(err)
	}
	return rt.RoundTrip(req)
}

// A server goes on with what its client has given up.
func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var work time.Duration
		var served atomic.Int64
		rt := network{server: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			time.Sleep(work)
			served.Add(1)
		})}
		begun := time.Now()
		if resp, err := send(t.Context(), t, rt); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("got %v, %v", resp, err)
		}
		if took := time.Since(begun); took < 2*OneWay || took > 3*OneWay {
			t.Errorf("took %v", took)
		}

		work = time.Minute
		begun = time.Now()
		_, err := send(t.Context(), t, rt)
		if late, ok := errors.AsType[timeout](err); !ok || !late.Timeout() || time.Since(begun) != fleet.AttemptTimeout {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := send(ctx, t, rt); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * work)
		if n := served.Load(); n != 3 {
			t.Errorf("served %d, want all", n)
		}
		if resp, err := send(t.Context(), t, noRoute{}); err == nil {
			t.Errorf("got %v from nowhere", resp)
		}
	})
}

func TestRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var built []int
		f := &replicas{
			build:    func(i int) *http.Client { built = append(built, i); return &http.Client{} },
			restarts: fleet.Restarts{From: time.Second, Every: time.Minute},
			begun:    time.Now(), all: make([]replica, 2),
		}
		for _, wait := range []time.Duration{0, 2 * time.Second, time.Minute, time.Minute} {
			time.Sleep(wait)
			f.client(0)
			f.client(1)
		}
		if want := []int{0, 1, 0, 1}; !slices.Equal(built, want) {
			t.Errorf("built %v, want %v", built, want)
		}
	})
}

func TestContenders(t *testing.T) {
	var names []string
	for _, c := range Contenders {
		names = append(names, c.Name)
	}
	for _, name := range append(slices.Clone(Sweepers), "bare") {
		if !slices.Contains(names, name) {
			t.Errorf("there is no %s among %q", name, names)
		}
	}
	if len(plan(true)) >= len(plan(false)) {
		t.Error("a brief run is no briefer")
	}
}
