package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestServer_RefusesEvery20thRequestForAll(t *testing.T) {
	s := new(server)
	for i := 1; i <= 2*refuseEvery; i++ {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/orders", nil))
		want, wait := http.StatusOK, ""
		if i%refuseEvery == 0 {
			want, wait = http.StatusTooManyRequests, "10"
		}
		if w.Code != want || w.Header().Get("Retry-After") != wait {
			t.Errorf("request %d: %d, Retry-After %q; want %d, %q", i, w.Code, w.Header().Get("Retry-After"), want, wait)
		}
	}
}
