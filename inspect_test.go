package holdoff_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// Keys tells an operator what is held, since when, why and for whom, and is
// silent about what is well.
func TestKeysTellWhyNothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &holdoff.MemoryStore{}
		told := &holdoff.Transport{Base: script(with(429, "Retry-After: 5"), 200), Store: store, MaxAttempts: 1, Route: oneScope}
		other := &holdoff.Transport{Route: oneScope, Base: script(200), Store: store}
		wants(t, other, "http://well.example/", 200)
		wants(t, other, "http://h.example/", 200)
		wants(t, told, "http://h.example/", 429)
		met := time.Now()
		synctest.Wait()
		time.Sleep(time.Second)
		go get(t, other, "http://h.example/")
		synctest.Wait()

		var got []holdoff.KeyState
		for s := range other.Keys() {
			got = append(got, s)
		}
		if len(got) != 1 {
			t.Fatalf("got %v, want the one key that is held", got)
		}
		s := got[0]
		if s.Key != "http://h.example" || s.Phase != holdoff.Held || !s.Shared || !s.ServerDirected || s.Attempts != 1 || s.Status != 429 || s.Waiters != 1 || s.Retries != 10 {
			t.Errorf("got %+v", s)
		}
		if !s.Last.Equal(met) || s.Until.Sub(met) != 5*time.Second {
			t.Errorf("got last failure %v and end %v after it was met, want 0 and 5 s", s.Last.Sub(met), s.Until.Sub(met))
		}
		want := "http://h.example is held for 4.0 s more: 429 Too Many Requests, the server asked for it; waiting: 1"
		if s.String() != want {
			t.Errorf("got %q\nwant %q", s, want)
		}
		time.Sleep(time.Minute)
		for s := range other.Keys() {
			t.Errorf("got %v after the hold, want none", s)
		}
	})
}

// A bound that is none is not shown as one.
func TestKeysShowNoBudgetAsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &holdoff.Transport{Base: script(with(429, "Retry-After: 5")), MaxAttempts: 1, Budget: -1, Route: oneScope}
		wants(t, tr, "http://h.example/", 429)
		for s := range tr.Keys() {
			if s.Retries != -1 || !strings.HasPrefix(s.String(), "http://h.example is held for 5.0 s more") {
				t.Errorf("got %v with %d retries, want -1", s, s.Retries)
			}
		}
	})
}
