package retryapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		totals     Totals
		want, mood string
	}{
		{Totals{}, "Nothing is held.", "well"},
		{Totals{Held: 1, Waiters: 1}, "1 key is held; 1 request waits.", "held"},
		{Totals{Held: 2, Waiters: 14}, "2 keys are held; 14 requests wait.", "held"},
		{Totals{Held: 2, Recovering: 1, Failing: 3}, "2 keys are held, 1 is recovering, 3 are failing.", "held"},
		{Totals{Recovering: 1, Waiters: 3}, "Nothing is held, 1 key is recovering; 3 requests wait.", "failing"},
		{Totals{Recovering: 2, Failing: 1}, "Nothing is held, 2 keys are recovering, 1 is failing.", "failing"},
		{Totals{Failing: 2}, "Nothing is held, 2 keys are failing.", "failing"},
	} {
		if got, mood := verdict(test.totals); got != test.want || mood != test.mood {
			t.Errorf("%+v: got %q, %s, want %q, %s", test.totals, got, mood, test.want, test.mood)
		}
	}
}

func TestStoreWords(t *testing.T) {
	t.Parallel()
	since := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, test := range []struct {
		state *StoreState
		want  string
	}{
		{nil, "There is no store"},
		{&StoreState{OK: true}, "The store works"},
		{&StoreState{Error: "refused"}, "The store is unreachable; this replica decides alone: refused"},
		{&StoreState{Error: "refused", Since: since}, "The store is unreachable since 07:08:09 UTC; this replica decides alone: refused"},
	} {
		if got := storeWords(test.state); !strings.HasPrefix(got, test.want) {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestStoreSince(t *testing.T) {
	t.Parallel()
	var h history
	now := time.Now()
	h.note(holdoff.Event{Kind: holdoff.StoreFailed}, now)
	if got := h.storeAway(); !got.Equal(now) {
		t.Errorf("got %v, want %v", got, now)
	}
	h.note(holdoff.Event{Kind: holdoff.StoreBack}, now)
	if got := h.storeAway(); !got.IsZero() {
		t.Errorf("got %v, want that it is back", got)
	}
}

func TestTimesInWords(t *testing.T) {
	t.Parallel()
	for ms, want := range map[int64]string{
		0: "0.0 s", 4300: "4.3 s", 12_000: "12 s", 119_000: "119 s", 125_000: "2 min 05 s", 3_600_000: "60 min",
	} {
		if got := left(ms); got != want {
			t.Errorf("left(%d): got %q, want %q", ms, got, want)
		}
	}
	now := time.Now()
	for d, want := range map[time.Duration]string{
		-time.Second: "just now", time.Second: "1 s ago", 119 * time.Second: "119 s ago", 2 * time.Minute: "2 min ago",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("ago(%v): got %q, want %q", d, got, want)
		}
	}
	if got := ago(time.Time{}, now); got != "–" {
		t.Errorf("got %q for a time that is not known", got)
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		n, match, all int
		host, want    string
	}{
		{3, 3, 3, "", "3"},
		{200, 4000, 4000, "", "showing 200 of 4000"},
		{2, 2, 40, "api", "showing 2 of 40"},
		{200, 300, 4000, "api", "showing 200 of 300 that match, of 4000 in all"},
	} {
		if got := shown(test.n, test.match, test.all, filter{host: test.host}); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestChart(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(s int) time.Time { return now.Add(time.Duration(s-600) * time.Second) }
	bars := chart([]Interval{
		{From: at(-20), To: at(-10)}, // too long ago
		{From: at(-10), To: at(20)},
		{From: at(100), To: at(101)},
		{From: at(570)},
		{From: at(600)}, // has just begun
	}, now)
	want := []bar{{0, 20}, {100, least}, {570, 30}, {600 - least, least}}
	if len(bars) != len(want) {
		t.Fatalf("got %v, want %v", bars, want)
	}
	for i, b := range bars {
		if d := b.X - want[i].X; d > 0.01 || d < -0.01 || b.Width < want[i].Width-0.01 || b.Width > want[i].Width+0.01 {
			t.Errorf("bar %d: got %v, want %v", i, b, want[i])
		}
	}
	var h history
	for _, e := range []struct {
		kind holdoff.EventKind
		at   int
	}{{holdoff.HoldStarted, -20}, {holdoff.HoldEnded, -10}, {holdoff.HoldStarted, -5}, {holdoff.HoldEnded, 5}, {holdoff.HoldStarted, 500}} {
		h.note(holdoff.Event{Kind: e.kind, Key: "k", Phase: holdoff.Held}, at(e.at))
	}
	list := h.of("k", now)
	if len(list) != 2 {
		t.Errorf("got %v, want the two of the last ten minutes", list)
	}
	if got := recent(list, now); got != "2 holds in the last ten minutes, 105 s in all" {
		t.Errorf("got %q", got)
	}
}

// TestWordsOfKeys goes through the ways in which a key can stand.
func TestWordsOfKeys(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		state KeyState
		want  string
	}{
		{KeyState{Phase: "held", Left: 12_000, Status: 429, ServerDirected: true, Told: true}, "held for 12 s more: 429 Too Many Requests, the server asked for it, reported by another replica"},
		{KeyState{Phase: "held", Attempts: 3}, "the hold is over; the next request is the probe: no response"},
		{KeyState{Phase: "probing", Status: 503}, "one trial request is in progress: 503 Service Unavailable"},
		{KeyState{Phase: "ramping", Status: 599}, "recovering: more requests are sent step by step: 599"},
		{KeyState{Phase: "counted", Status: 429}, "all requests are sent, and its capacity is measured: 429 Too Many Requests"},
		{KeyState{Phase: "paced", Rate: 180.04, Status: 429}, "limited to what it accepts, 180 requests per second: 429 Too Many Requests"},
		{KeyState{Phase: "rationed", Rate: 0.5}, "spreading a quota, 0.5 requests per second"},
		{KeyState{Phase: "healthy", Attempts: 1, Status: 500}, "failing, but requests are sent: 500 Internal Server Error"},
		{KeyState{Phase: "healthy"}, "healthy"},
	} {
		if got := words(test.state); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// TestFilterOfCapitals: keys of the user's own may have them.
func TestFilterOfCapitals(t *testing.T) {
	t.Parallel()
	f := filterOf(httptest.NewRequest(http.MethodGet, "/?host=ACME", nil))
	for key, want := range map[string]bool{"tenant:Acme": true, "https://acme.example": true, "https://example.com": false} {
		if got := f.match(key); got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
}
