package retryapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/retryapi"
)

// A server fails until it is mended. The request that it failed is parked, and
// replayed by a POST.
func Example() {
	var mended atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !mended.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		order, _ := io.ReadAll(r.Body)
		fmt.Printf("the server got %q\n", order)
	}))
	defer server.Close()

	lot, err := retryapi.NewMemoryLot(retryapi.Bounds{})
	if err != nil {
		fmt.Println(err)
		return
	}
	transport := &holdoff.Transport{Base: &http.Transport{}, Park: lot, MaxAttempts: 2}
	defer transport.CloseIdleConnections()
	admin := &retryapi.Handler{Transport: transport, Lot: lot}

	var out holdoff.Outcome
	req, err := http.NewRequest(http.MethodPut, server.URL+"/orders/7", strings.NewReader("two pears"))
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: transport}
	resp, err := client.Do(req.WithContext(holdoff.WithOutcome(req.Context(), &out)))
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Printf("%d, given up after %d attempts (%s)\n", resp.StatusCode, out.Attempts, out.Ended)

	mended.Store(true)
	call := fmt.Sprintf(`{"id": %q, "attemptNumber": 2, "sleepDuration": 100, "jitter": 50}`, out.Parked)
	for range 2 {
		retry := httptest.NewRequest(http.MethodPost, "/retry", strings.NewReader(call))
		retry.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		admin.ServeHTTP(answer, retry)
		fmt.Println(answer.Code, strings.Contains(answer.Body.String(), `"result":"success"`))
	}

	// Output:
	// 503, given up after 2 attempts (attempts)
	// the server got "two pears"
	// 200 true
	// 404 false
}

// The handler is mounted behind the service's own authentication.
func ExampleHandler() {
	mux := http.NewServeMux()
	requireLogin := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, _, ok := r.BasicAuth(); !ok {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}

	lot, err := retryapi.NewMemoryLot(retryapi.Bounds{})
	transport := &holdoff.Transport{Park: lot}
	handler := &retryapi.Handler{Transport: transport, Lot: lot}
	transport.Observe = handler.Observe
	mux.Handle("/retries/", http.StripPrefix("/retries", requireLogin(handler)))
	if err != nil {
		fmt.Println(err)
		return
	}

	for _, name := range []string{"", "operator"} {
		req := httptest.NewRequest(http.MethodGet, "/retries/state", nil)
		if name != "" {
			req.SetBasicAuth(name, "password")
		}
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, req)
		fmt.Println(answer.Code)
	}
	// Output:
	// 401
	// 200
}
