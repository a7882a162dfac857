package composition

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

// api is a server without a network, so that time can be virtual: it answers
// requests by their number, from 1.
type api struct {
	answer func(n int, req *http.Request) *http.Response
	took   func(n int) time.Duration

	mu    sync.Mutex
	sends []*http.Request
}

func (a *api) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	a.mu.Lock()
	a.sends = append(a.sends, req)
	n := len(a.sends)
	a.mu.Unlock()
	if a.took != nil {
		select {
		case <-time.After(a.took(n)):
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	return a.answer(n, req), nil
}

func (a *api) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sends)
}

// respond makes a response with headers given as "Name: value".
func respond(status int, headers ...string) *http.Response {
	w := httptest.NewRecorder()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		w.Header().Add(name, strings.TrimSpace(value))
	}
	w.WriteHeader(status)
	return w.Result()
}

// get returns the status of a request; 0 where there was no response.
func get(ctx context.Context, rt http.RoundTripper, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{Transport: rt}).Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func wantStatus(t *testing.T, rt http.RoundTripper, url string, want int) {
	t.Helper()
	if got, err := get(t.Context(), rt, url); got != want {
		t.Errorf("%s: got %d, %v; want %d", url, got, err, want)
	}
}

// held reports whether err says that a request was not sent.
func held(err error) bool {
	_, ok := errors.AsType[*holdoff.HeldError](err)
	return ok
}

// flaky is a server that answers its first request with 503.
func flaky(served http.HandlerFunc) *httptest.Server {
	failed := false
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !failed {
			failed = true
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		served(w, r)
	}))
}

// oneScope is a Route for a host that is limited as a whole.
func oneScope(*http.Request) string { return "" }
