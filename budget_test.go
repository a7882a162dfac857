package holdoff_test

import (
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// retryQuietly retries everything, and learns nothing from it.
func retryQuietly(*http.Request, *http.Response, error) holdoff.Verdict {
	return holdoff.Verdict{Retry: true}
}

// A host that fails for good is sent no more than the retry budget holds on top of
// first attempts, and each key has its own.
func TestBudgetBoundsRetriesOfAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct{ budget, requests, want int }{
			{0, 15, 10}, {3, 15, 3}, {-1, 4, 12}, {math.MaxInt, 4, 12},
		} {
			base := script(500)
			// 500 is made a Nothing, so that no hold joins in.
			tr := &holdoff.Transport{Base: base, Budget: test.budget, Backoff: holdoff.Exponential{Base: time.Millisecond}, Classify: retryQuietly}
			for range test.requests {
				resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
				if err != nil || resp.StatusCode != 500 {
					t.Fatalf("got %v, %v; want the 500", resp, err)
				}
			}
			if got := base.sends() - test.requests; got != test.want {
				t.Errorf("Budget %d: got %d retries on %d requests, want %d", test.budget, got, test.requests, test.want)
			}
			before := base.sends()
			if _, err := tr.RoundTrip(newRequest(t, "GET", "http://b.example/", "")); err != nil {
				t.Fatal(err)
			}
			if got := base.sends() - before; got != 4 {
				t.Errorf("Budget %d: another key was sent %d, want 4", test.budget, got)
			}
		}
	})
}
