package composition

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gregjones/httpcache"

	"github.com/go-holdoff/holdoff"
)

// A cache outside: what is fresh is served also while its host is held.
func Example_httpcacheOutside() {
	sends := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sends++
		if r.URL.Path == "/refused" {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "hello")
	}))
	defer server.Close()

	cache := httpcache.NewMemoryCacheTransport()
	cache.Transport = &holdoff.Transport{MaxWait: 5 * time.Second}
	client := cache.Client()

	for _, path := range []string{"/page", "/refused", "/page", "/refused"} {
		resp, err := client.Get(server.URL + path)
		if held(err) {
			fmt.Println(path, "is not sent: it is held")
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		io.Copy(io.Discard, resp.Body) // a response is cached once it is read
		resp.Body.Close()
		fmt.Println(path, resp.StatusCode)
	}
	fmt.Println("sends:", sends)
	// Output:
	// /page 200
	// /refused 429
	// /page 200
	// /refused is not sent: it is held
	// sends: 2
}

// read is get, with the body, so that it is cached; and how long it took.
func read(ctx context.Context, rt http.RoundTripper, url string) (int, time.Duration, error) {
	begun := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, time.Since(begun), err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, time.Since(begun), err
}

// Inside, what the cache has waits for a hold that is none of its business.
func TestCachedDuringAHold(t *testing.T) {
	for name, wantWait := range map[string]bool{"outside": false, "inside": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &api{answer: func(n int, req *http.Request) *http.Response {
					if req.URL.Path == "/refused" {
						return respond(429, "Retry-After: 30")
					}
					return respond(200, "Cache-Control: max-age=600", "Date: "+time.Now().UTC().Format(http.TimeFormat))
				}}
				cache := httpcache.NewMemoryCacheTransport()
				transport := &holdoff.Transport{Base: host, MaxAttempts: 1, Route: oneScope}
				var rt http.RoundTripper = cache
				if cache.Transport = transport; name == "inside" {
					cache.Transport, transport.Base, rt = host, cache, transport
				}
				read(t.Context(), rt, "http://h/page")
				read(t.Context(), rt, "http://h/refused")
				status, took, err := read(t.Context(), rt, "http://h/page")
				if status != 200 || (took >= 30*time.Second) != wantWait {
					t.Errorf("got %d, %v after %v; want 200, and a wait: %v", status, err, took, wantWait)
				}
			})
		})
	}
}

// With stale-if-error a copy that is too old stands in for a host that is held.
// A 429 that reaches the cache is no such error, and costs the copy: it must not
// be the page itself that is refused.
func TestStaleIfHeld(t *testing.T) {
	for refused, want := range map[string]int{"/other": 200, "/page": 0} {
		t.Run("refused is "+refused, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &api{answer: func(n int, req *http.Request) *http.Response {
					if n > 1 {
						return respond(429, "Retry-After: 60")
					}
					return respond(200, "Cache-Control: max-age=1, stale-if-error=600", "Date: "+time.Now().UTC().Format(http.TimeFormat))
				}}
				cache := httpcache.NewMemoryCacheTransport()
				cache.Transport = &holdoff.Transport{Base: host, MaxWait: time.Second, Route: oneScope}
				read(t.Context(), cache, "http://h/page")
				time.Sleep(5 * time.Second)
				read(t.Context(), cache, "http://h"+refused)
				if got, _, err := read(t.Context(), cache, "http://h/page"); got != want || (want == 0 && !held(err)) {
					t.Errorf("got %d, %v; want %d", got, err, want)
				}
			})
		})
	}
}
