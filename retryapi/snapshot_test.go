package retryapi

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// countedLot counts how often it is listed, and how many do it at once. Each list
// takes that long.
type countedLot struct {
	Lot
	takes           time.Duration
	lists, now, top atomic.Int32
}

func (l *countedLot) List(ctx context.Context, limit int) ([]Summary, int, error) {
	l.lists.Add(1)
	if now := l.now.Add(1); now > l.top.Load() {
		l.top.Store(now)
	}
	defer l.now.Add(-1)
	select {
	case <-time.After(l.takes):
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	return l.Lot.List(ctx, limit)
}

func TestSnapshot_OneServesAllPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{503})
		lot := &countedLot{Lot: r.lot}
		r.Lot = lot
		var stops []func()
		var pages []*stream
		for range 40 {
			s := &stream{}
			stop, wait := follow(t, r, s)
			pages, stops = append(pages, s), append(stops, stop, wait)
			time.Sleep(refresh / 40) // they do not look all at once
		}
		begun, before := time.Now(), lot.lists.Load()
		time.Sleep(10 * time.Second)
		refreshes := int32(time.Since(begun) / refresh)
		if got := lot.lists.Load() - before; got > refreshes+1 || got < refreshes/2 {
			t.Errorf("got %d lists for %d pages and %d refreshes, want one per refresh", got, len(pages), refreshes)
		}
		post(r, callBody(r.id, 4, 0, 0))
		time.Sleep(2 * refresh)
		for i, s := range pages {
			if all := s.all(); !strings.Contains(all[len(all)-1], `"attemptNumber":5`) {
				t.Errorf("page %d: got %q, want what the replay has changed", i, all[len(all)-1])
			}
		}
		for _, f := range stops {
			f()
		}
	})
}

func TestSnapshot_IsTakenOnceForAllThatComeMeanwhile(t *testing.T) {
	r := newRig(t, []int{503})
	lot := &countedLot{Lot: r.lot, takes: 50 * time.Millisecond}
	r.Lot = lot
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { get(r, "/state") })
		wg.Go(func() { get(r, "/") })
	}
	wg.Wait()
	if lot.top.Load() != 1 || lot.lists.Load() > 3 {
		t.Errorf("got %d lists, %d at once; want one that all share", lot.lists.Load(), lot.top.Load())
	}
}

// The end of the caller for whom a snapshot is taken does not spoil it for others.
func TestSnapshot_OutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{503})
		r.Lot = &countedLot{Lot: r.lot, takes: 100 * time.Millisecond}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/state", nil).WithContext(ctx))
		if rec := get(r, "/state"); !strings.Contains(rec.Body.String(), r.id) {
			t.Errorf("got %s, want the parked request in it", rec.Body)
		}
	})
}

// A lot that hangs takes its second once, not once for each page.
func TestSnapshot_LotThatHangsIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{503})
		lot := &countedLot{Lot: r.lot, takes: time.Hour}
		r.Lot = lot
		get(r, "/state")
		for range 10 {
			if rec := get(r, "/state"); !strings.Contains(rec.Body.String(), "can't be reached") {
				t.Errorf("got %s, want why the parked requests are missing", rec.Body)
			}
		}
		if got := lot.lists.Load(); got != 1 {
			t.Errorf("got %d lists, want one", got)
		}
	})
}

func TestSnapshot_KeepsFiltersApart(t *testing.T) {
	r := newRig(t, []int{503})
	for i := range 300 {
		p := parkable(t, "PUT", fmt.Sprintf("https://host-%d.example.com/", i), nil)
		p.Key = fmt.Sprintf("https://host-%d.example.com", i)
		park(t, r.lot, p)
	}
	for path, want := range map[string]int{"/state": 200, "/state?host=host-3.": 1, "/state?host=HOST-299": 1, "/state?host=nowhere": 0, "/state?limit=7": 200} {
		if got := strings.Count(get(r, path).Body.String(), `"inFlight"`); got != want {
			t.Errorf("%s: got %d parked requests, want %d", path, got, want)
		}
	}
}

// A stream goes on where the server has timeouts for other requests.
func TestEvents_OutliveTheServersTimeouts(t *testing.T) {
	r := newRig(t, []int{503})
	server := httptest.NewUnstartedServer(r)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	server.Start()
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/events", nil)
	must(t, err)
	resp, err := server.Client().Do(req)
	must(t, err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	next := func() {
		t.Helper()
		for range 3 {
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatalf("got %v, want the stream to go on", err)
			}
		}
	}
	next()
	time.Sleep(time.Second) // ten times the timeouts
	park(t, r.lot, parkable(t, "PUT", "https://api.example.com/", nil))
	next()
}

// BenchmarkEvents is a refresh of 16,000 held keys for so many pages.
func BenchmarkEvents(b *testing.B) {
	rt := &holdoff.Transport{Base: &server{codes: []int{429}, header: []string{"Retry-After", "60"}}, MaxWait: -1}
	for i := range 16_000 {
		req, err := http.NewRequest("GET", fmt.Sprintf("https://host-%d.example.com/", i), nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := rt.RoundTrip(req); err != nil {
			b.Fatal(err)
		}
	}
	for _, pages := range []int{1, 60} {
		b.Run(fmt.Sprintf("%d pages", pages), func(b *testing.B) {
			for b.Loop() {
				h := &Handler{Transport: rt}
				for range pages {
					if _, err := h.snapshot(b.Context(), filter{limit: defaultLimit}).frame(h, filter{limit: defaultLimit}); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
