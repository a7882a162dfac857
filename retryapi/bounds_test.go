package retryapi

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// withHeader is a PUT with so many header lines, whose values have n bytes each.
func withHeader(t *testing.T, lines, n int) holdoff.Parked {
	t.Helper()
	p := parkable(t, "PUT", "https://api.example.com/", nil)
	for i := range lines {
		p.Request.Header.Add(fmt.Sprintf("X-%d", i%10), strings.Repeat("x", n))
	}
	return p
}

func TestBounds_HeadersAndURLCountInBytes(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		for name, one := range map[string]func() holdoff.Parked{
			"long values": func() holdoff.Parked { return withHeader(t, 10, 20<<10) },
			"many values": func() holdoff.Parked { return withHeader(t, 5000, 0) },
			"a long URL": func() holdoff.Parked {
				return parkable(t, "PUT", "https://api.example.com/"+strings.Repeat("x", 200<<10), nil)
			},
			"a long Host": func() holdoff.Parked {
				p := parkable(t, "PUT", "https://api.example.com/", nil)
				p.Request.Host = strings.Repeat("x", 200<<10)
				return p
			},
			"a long key": func() holdoff.Parked {
				p := parkable(t, "PUT", "https://api.example.com/", nil)
				p.Key = strings.Repeat("x", 200<<10)
				return p
			},
		} {
			t.Run(name, func(t *testing.T) {
				l := newLot(Bounds{Bytes: 1 << 20, Header: 1 << 20})
				for range 20 {
					park(t, l, one())
				}
				if _, total, err := l.List(t.Context(), 1); total > 6 || total < 3 || err != nil {
					t.Errorf("got %d parked, %v; want as many as 1 MiB holds of 200 KiB each", total, err)
				}
				l = newLot(Bounds{})
				if _, err := l.Park(t.Context(), one()); err == nil || !strings.Contains(err.Error(), "more than 65536 (Bounds.Header)") {
					t.Errorf("got %v, want an error that names Bounds.Header and its 64 KiB", err)
				}
			})
		}
	})
}

func TestBounds_HeaderIsKeptToTheLastByte(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		line := int64(len("X-0")+10) + lineBytes
		l := newLot(Bounds{Header: parkableHead + line})
		park(t, l, withHeader(t, 1, 10))
		if _, err := l.Park(t.Context(), withHeader(t, 1, 11)); err == nil {
			t.Error("a byte more is parked, want an error")
		}
		bare := parkable(t, "PUT", "https://api.example.com/", nil)
		bare.Request.Header = map[string][]string{"A-Name-Without-A-Value": nil}
		if _, err := l.Park(t.Context(), bare); err == nil {
			t.Error("a long name without a value is parked, want an error")
		}
	})
}

// What is listed is bounded, however long the request is.
func TestList_ShowsABoundedSummary(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{})
		long := strings.Repeat("ä", 5<<10)
		p := parkable(t, "PUT", "https://api.example.com/"+long, nil)
		p.Key, p.Err = long, errors.New(long)
		id := park(t, l, p)
		check := func(s Summary) {
			t.Helper()
			for _, text := range []string{s.Method, s.URL, s.Key, s.Error} {
				if len(text) > maxShown+len("…") || !utf8.ValidString(text) {
					t.Errorf("got a text of %d bytes, want at most %d of whole runes", len(text), maxShown)
				}
			}
			if !strings.HasPrefix(s.URL, "https://api.example.com/") || !strings.HasSuffix(s.URL, "…") {
				t.Errorf("got the URL %q, want its beginning", s.URL)
			}
		}
		list, _, err := l.List(t.Context(), 1)
		must(t, err)
		check(list[0])
		c := claim(t, l, id, 4)
		if got := c.Request.URL.String(); got != p.Request.URL.String() {
			t.Errorf("got a URL of %d bytes for the replay, want all %d", len(got), len(p.Request.URL.String()))
		}
		must(t, l.Begin(t.Context(), c, lease))
		must(t, l.Settle(t.Context(), c, Result{Sent: true, Err: long}))
		list, _, err = l.List(t.Context(), 1)
		must(t, err)
		check(list[0])
	})
}

func TestMemoryLot_ListNeedsNoLock(t *testing.T) {
	l := memoryLot(t, Bounds{})
	var want []string
	for range 3 {
		want = append(want, park(t, l, parkable(t, "PUT", "https://api.example.com/", nil)))
	}
	l.mu.Lock() // as a Park under way does
	defer l.mu.Unlock()
	done := make(chan []Summary, 1)
	go func() {
		list, _, _ := l.List(t.Context(), 10)
		done <- list
	}()
	select {
	case list := <-done:
		if len(list) != 3 || list[0].ID != want[2] || list[2].ID != want[0] {
			t.Errorf("got %+v, want the three, the latest first", list)
		}
	case <-time.After(20 * time.Second):
		t.Error("List waits for the lock that parking needs")
	}
}

func TestMemoryLot_GoneRequestsLeaveNoBytes(t *testing.T) {
	l := memoryLot(t, Bounds{Requests: 5})
	whole := 0
	var all []*space
	for range 100 {
		all = append(all, l.parked[park(t, l, parkable(t, "PUT", "https://api.example.com/", make([]byte, 100)))])
	}
	for _, s := range all {
		if s.record != nil {
			whole++
		}
	}
	if whole != 5 || len(l.parked) != 5 || l.bytes != 5*(parkableHead+100) {
		t.Errorf("got %d whole records, %d parked and %d bytes; want 5 of each", whole, len(l.parked), l.bytes)
	}
}

// The list is made of summaries: of the requests themselves nothing is read.
func TestRedisLot_ListReadsSummariesAlone(t *testing.T) {
	s := redistest.Start(t)
	l := redisLot(t, s, RedisLotOptions{})
	p := withHeader(t, 10, 1000)
	p.Request.GetBody = parkable(t, "PUT", "https://api.example.com/", allBytes).Request.GetBody
	id := park(t, l, p)
	all := everything(t, s.Client())
	if got := len(all[l.base+"summaries "+id]); got == 0 || got > 1000 {
		t.Errorf("got a summary of %d bytes, want a short one", got)
	}
	must(t, s.Client().Del(t.Context(), l.base+"heads", l.base+"bodies").Err())
	list, total, err := l.List(t.Context(), 10)
	must(t, err)
	if total != 1 || len(list) != 1 || list[0].ID != id || list[0].Size != len(allBytes) || list[0].URL != "https://api.example.com/" {
		t.Errorf("got %d: %+v, want the request", total, list)
	}
}

// Where Redis has evicted the index, or what the bytes are counted in, parking
// goes on.
func TestRedisLot_ParksAfterItsKeysWereEvicted(t *testing.T) {
	s := redistest.Start(t)
	for _, part := range lotKeys {
		l := redisLot(t, s, RedisLotOptions{Namespace: part, Bounds: Bounds{Bytes: 2 * (parkableHead + 100)}})
		one := func() { park(t, l, parkable(t, "PUT", "https://api.example.com/", make([]byte, 100))) }
		one()
		one()
		must(t, s.Client().Del(t.Context(), l.base+part).Err())
		for range 4 {
			one()
		}
		if _, total, err := l.List(t.Context(), 10); total > 2 && part != "states" || total == 0 || err != nil {
			t.Errorf("without its %s: got %d parked, %v; want one or two", part, total, err)
		}
	}
}
