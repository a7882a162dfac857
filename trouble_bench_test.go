package holdoff_test

import (
	"net/http"
	"testing"

	"github.com/go-holdoff/holdoff"
)

// What a request costs while another route of its host is held.
func BenchmarkGetBesideAHeldRoute(b *testing.B) {
	for name, path := range map[string]string{"plain": "/v1/other", "ids": "/v1/users/42"} {
		b.Run(name, func(b *testing.B) {
			refuse := true
			resp := answer(200)
			tr := &holdoff.Transport{MaxAttempts: 1, Base: baseFunc(func(*http.Request) (*http.Response, error) {
				if refuse {
					return answer(429, "Retry-After: 300"), nil
				}
				return resp, nil
			})}
			get := func(path string) *http.Request {
				req, _ := http.NewRequest(http.MethodGet, "http://h"+path, nil)
				req.Header.Set("Authorization", "Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a")
				return req
			}
			if _, err := tr.RoundTrip(get("/v1/held")); err != nil {
				b.Fatal(err)
			}
			refuse = false
			req := get(path)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tr.RoundTrip(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
