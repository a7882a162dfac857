package holdoff

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A quick walk through the whole: a hint that delays one request, and one that
// holds the key.
func TestRetriesAndHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := script(with(429, "Retry-After: 1"), 503, 200, with(429, "Retry-After: 10"), 200)
		client := &http.Client{Transport: &Transport{Base: base}}
		start := time.Now()
		for range 2 {
			resp, err := client.Get("https://api.example.com/")
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 200 {
				t.Fatalf("got status %d, want 200", resp.StatusCode)
			}
			resp.Body.Close()
		}
		if got := base.times[1].Sub(start); got < time.Second || got > 1500*time.Millisecond {
			t.Errorf("second attempt after %v, want 1 s and jitter", got)
		}
		if got := base.times[4].Sub(base.times[3]); got != 10*time.Second {
			t.Errorf("attempt after the hold came after %v, want 10 s", got)
		}
	})
}
