package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/admission"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// odd is a MemoryStore that can be away, that can forget, and that can keep a grant
// under way for a while.
type odd struct {
	away  atomic.Bool
	slow  atomic.Int64 // how long the next grant takes to arrive, in ns
	asked atomic.Int64 // reports

	mu       sync.Mutex // guards what follows
	inner    *holdoff.MemoryStore
	watchers map[*watch]bool
}

// watch is one of an odd store.
type watch struct {
	key     string
	changed func(string, holdoff.State)
	stop    func() // ends the one of the inner store
}

// now returns the inner store.
func (s *odd) now() *holdoff.MemoryStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inner == nil {
		s.inner = &holdoff.MemoryStore{}
	}
	return s.inner
}

// become makes other the inner store, which watchers are told.
func (s *odd) become(other *holdoff.MemoryStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inner = other
	for w := range s.watchers {
		w.stop()
		w.stop = other.Watch(w.key, w.changed)
	}
}

// forget loses all keys, which watchers are told.
func (s *odd) forget() {
	lost := map[string]bool{"": true}
	for record := range s.now().All() {
		_, part, _ := strings.Cut(record, " ")
		lost[part] = true
	}
	s.become(&holdoff.MemoryStore{})
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		for part := range lost {
			w.changed(part, holdoff.State{Lost: true})
		}
	}
}

func (s *odd) Report(ctx context.Context, key string, r holdoff.Report) (holdoff.Reply, error) {
	s.asked.Add(1)
	return s.answer(r.Want, func() (holdoff.Reply, error) { return s.now().Report(ctx, key, r) })
}

func (s *odd) Commit(ctx context.Context, key string, d holdoff.Decision) (holdoff.Reply, error) {
	return s.answer(d.Want, func() (holdoff.Reply, error) { return s.now().Commit(ctx, key, d) })
}

func (s *odd) answer(want int, call func() (holdoff.Reply, error)) (holdoff.Reply, error) {
	if s.away.Load() {
		return holdoff.Reply{}, errors.New("away")
	}
	reply, err := call()
	if want > 0 && reply.Snapshot.Permits > 0 {
		time.Sleep(time.Duration(s.slow.Swap(0)))
	}
	return reply, err
}

func (s *odd) Watch(key string, changed func(string, holdoff.State)) (stop func()) {
	w := &watch{key: key, changed: changed, stop: s.now().Watch(key, changed)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers == nil {
		s.watchers = make(map[*watch]bool)
	}
	s.watchers[w] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.stop()
		delete(s.watchers, w)
	}
}

func (s *odd) All() iter.Seq2[string, holdoff.State] { return s.now().All() }

const fleetKey = "http://h.example"

// tell holds the key as another replica does that was told to wait.
func (s *odd) tell(t *testing.T, r holdoff.Report) holdoff.State {
	t.Helper()
	return s.tellOf(t, fleetKey, r)
}

func (s *odd) tellOf(t *testing.T, key string, r holdoff.Report) holdoff.State {
	t.Helper()
	r.Replica = "another"
	r.Version = hold.Version
	reply, err := admission.Exchange(t.Context(), s.now(), key, r)
	if err != nil {
		t.Fatal(err)
	}
	return reply.Snapshot
}

// Where the store goes away while another replica probes, or has the permits of the
// ramp, this one goes on by itself.
func TestStore_AwayInAProbeStopsNoRequest(t *testing.T) {
	for _, phase := range []holdoff.Phase{holdoff.Held, holdoff.Probing, holdoff.Ramping} {
		for _, end := range []string{"away", "lost"} {
			t.Run(phase.String()+" and "+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := &odd{}
					tr := &holdoff.Transport{Route: oneScope, Base: script(200), Store: store}
					wants(t, tr, fleetKey+"/", 200)
					store.tell(t, holdoff.Report{Hint: 2 * time.Second, ServerDirected: true, Status: 429})
					time.Sleep(2 * time.Second)
					if phase != holdoff.Held {
						s := store.tell(t, holdoff.Report{Want: 1, Lease: time.Second})
						if phase == holdoff.Ramping {
							store.tell(t, holdoff.Report{Generation: s.Generation, Good: 1, Want: 2})
						}
					}
					start := time.Now()
					var wg sync.WaitGroup
					for range 20 {
						wg.Go(func() { wants(t, tr, fleetKey+"/", 200) })
					}
					synctest.Wait()
					if end == "away" {
						store.away.Store(true)
					} else {
						store.forget()
					}
					wg.Wait()
					if waited := time.Since(start); waited > 5*time.Second {
						t.Errorf("the last was served after %v, want a lease and a ramp", waited)
					}
					if n := store.asked.Load(); n > 200 {
						t.Errorf("the store was asked %d times", n)
					}
					time.Sleep(5 * time.Second)
				})
			})
		}
	}
}

// A hold that the fleet shares goes on where the store fails to take in what a
// request met that was sent before.
func TestStore_AwayInASharedHoldKeepsTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &odd{}
		answered := make(chan struct{})
		tr := &holdoff.Transport{Route: oneScope, Store: store, MaxAttempts: 1, Base: baseFunc(func(*http.Request) (*http.Response, error) {
			<-answered
			return answer(429, "Retry-After: 5"), nil
		})}
		var wg sync.WaitGroup
		wg.Go(func() { wants(t, tr, fleetKey+"/", 429) })
		synctest.Wait()
		store.tell(t, holdoff.Report{Hint: time.Minute, ServerDirected: true, Status: 429})
		end := time.Now().Add(time.Minute)
		store.away.Store(true)
		close(answered)
		wg.Wait()
		time.Sleep(30 * time.Second)
		if n := store.asked.Load(); n == 0 {
			t.Error("the store was not asked")
		}
		for s := range tr.Keys() {
			if s.Phase != holdoff.Held || s.Until.Before(end) {
				t.Errorf("the replica is %v until %v before the end of the hold", s.Phase, end.Sub(s.Until))
			}
			return
		}
		t.Error("the replica has forgotten the hold")
	})
}

// A hint that arrives while permits are under way from the store is obeyed.
func TestStore_PermitsUnderWayDoNotUndercutAHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &odd{}
		release := make(chan struct{})
		var hinted, sent time.Time
		base := baseFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/late" {
				<-release
				hinted = time.Now()
				return answer(429, "Retry-After: 10"), nil
			}
			sent = time.Now()
			return answer(200), nil
		})
		tr := &holdoff.Transport{Route: oneScope, Base: base, Store: store, MaxAttempts: 1}
		var wg sync.WaitGroup
		wg.Go(func() { get(t, tr, fleetKey+"/late") })
		synctest.Wait()
		store.tell(t, holdoff.Report{Hint: 2 * time.Second, ServerDirected: true, Status: 429})
		store.slow.Store(int64(100 * time.Millisecond))
		wg.Go(func() { wants(t, tr, fleetKey+"/", 200) })
		time.Sleep(2*time.Second + 50*time.Millisecond) // the permit is under way
		close(release)
		wg.Wait()
		if got := sent.Sub(hinted); got < 10*time.Second {
			t.Errorf("sent %v after the hint, want 10 s or more", got)
		}
		time.Sleep(5 * time.Second)
	})
}

// A probe that was granted to a process whose waiters have left is another's.
func TestStore_ProbeWithoutAWaiterIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &odd{}
		slow := func() *http.Response { time.Sleep(3 * time.Second); return answer(200) } // a lease of 12 s
		leaver := &holdoff.Transport{Route: oneScope, Base: script(slow, 200), Store: store}
		stayer := &holdoff.Transport{Route: oneScope, Base: script(200), Store: store}
		wants(t, leaver, fleetKey+"/", 200)
		store.tell(t, holdoff.Report{Hint: 2 * time.Second, ServerDirected: true, Status: 429})
		ctx, cancel := context.WithCancel(t.Context())
		store.slow.Store(int64(100 * time.Millisecond))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := leaver.RoundTrip(newRequest(t, "GET", fleetKey+"/", "").WithContext(ctx)); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the context's error", err)
			}
		})
		time.Sleep(2*time.Second + 50*time.Millisecond) // the permit is under way
		cancel()
		start := time.Now()
		wants(t, stayer, fleetKey+"/", 200)
		if waited := time.Since(start); waited > time.Second {
			t.Errorf("the other replica's request waited %v, want no more than a hold.Slot or two", waited)
		}
		wg.Wait()
		time.Sleep(5 * time.Second)
	})
}

// Refusals in flight, each a little later than the one before, are not an exchange
// each.
func TestStore_RefusalsInFlightAreReportedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &odd{}
		var n atomic.Int64
		tr := &holdoff.Transport{Route: oneScope, Store: store, MaxAttempts: 1, Base: baseFunc(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Duration(n.Add(1)) * 2 * time.Millisecond)
			return answer(429, "Retry-After: 3"), nil
		})}
		start := time.Now()
		var wg sync.WaitGroup
		for range 800 {
			wg.Go(func() { get(t, tr, fleetKey+"/") })
		}
		wg.Wait()
		last := time.Now()
		time.Sleep(time.Second)
		if got := store.asked.Load(); got > 20 {
			t.Errorf("800 refusals within %v made %d exchanges, want a few", last.Sub(start), got)
		}
		for _, s := range store.All() {
			if s.Until.Before(last.Add(3 * time.Second)) {
				t.Errorf("the fleet is held until %v after the last refusal, want 3 s", s.Until.Sub(last))
			}
		}
	})
}

// Where two halves of a fleet meet again, the longer hold wins, also of replicas that
// only heard of it.
func TestStore_LongerHoldWinsWherePartsOfAFleetMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &odd{}
		tr := &holdoff.Transport{Route: oneScope, Base: script(200), Store: store}
		wants(t, tr, fleetKey+"/", 200)
		store.tell(t, holdoff.Report{Hint: 80 * time.Second, ServerDirected: true, Status: 429})
		end := time.Now().Add(80 * time.Second)
		time.Sleep(time.Second)
		// The other half's store, whose versions are higher.
		other := &odd{}
		for i := range 5 {
			other.tellOf(t, fmt.Sprint("http://other", i), holdoff.Report{Hint: time.Minute, ServerDirected: true, Status: 429})
		}
		other.tell(t, holdoff.Report{Hint: 20 * time.Second, ServerDirected: true, Status: 503})
		store.become(other.now())
		synctest.Wait()
		time.Sleep(time.Second)
		states := maps.Collect(store.All())
		if s := states[fleetKey]; s.Phase != holdoff.Held || s.Until.Before(end) {
			t.Errorf("the fleet is %v until %v before the longer hold's end", s.Phase, end.Sub(s.Until))
		}
		if s := keyAt(tr, fleetKey); s.Phase != holdoff.Held || s.Until.Before(end) {
			t.Errorf("the replica is %v until %v before the longer hold's end", s.Phase, end.Sub(s.Until))
		}
		if n := store.asked.Load(); n > 3 {
			t.Errorf("the store was told %d times, want once or twice", n)
		}
	})
}

// A hint that Redis took for an old one, because its clock went forward, is told
// again.
func TestStore_HintThatItMissedIsReportedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &forgetful{}
		tr := &holdoff.Transport{Route: oneScope, Base: script(with(429, "Retry-After: 10")), Store: store, MaxAttempts: 1}
		wants(t, tr, fleetKey+"/", 429)
		met := time.Now()
		time.Sleep(2 * admissionConstant("storeRetry").(time.Duration))
		for _, s := range store.All() {
			if s.Phase == holdoff.Held && s.Until.Sub(met) >= 10*time.Second {
				return
			}
		}
		t.Errorf("the store does not know of the hold: it was asked %d times", store.asked)
	})
}

// forgetful takes the first hint for one that is over.
type forgetful struct {
	holdoff.MemoryStore
	asked int
}

func (s *forgetful) Report(ctx context.Context, key string, n holdoff.Report) (holdoff.Reply, error) {
	if s.asked++; s.asked == 1 {
		n.Hint, n.ServerDirected = 0, false
	}
	return s.MemoryStore.Report(ctx, key, n)
}

// What is long over is not shown as held.
func TestKeys_LongAfterAHoldListsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &holdoff.MemoryStore{}
		told := &holdoff.Transport{Base: script(with(429, "Retry-After: 2")), Store: store, MaxAttempts: 1}
		unused := &holdoff.Transport{Store: store}
		wants(t, told, fleetKey+"/", 429)
		synctest.Wait()
		for name, tr := range map[string]*holdoff.Transport{"the one that was told": told, "one that was not used": unused} {
			n := 0
			for s := range tr.Keys() {
				n++
				if s.Key != fleetKey || s.Phase != holdoff.Held || s.Last.IsZero() {
					t.Errorf("%s: got %+v", name, s)
				}
			}
			if n != 1 {
				t.Errorf("%s: got %d keys, want 1", name, n)
			}
		}
		time.Sleep(time.Hour)
		for _, tr := range []*holdoff.Transport{told, unused} {
			for s := range tr.Keys() {
				t.Errorf("an hour later: got %v", s)
			}
		}
	})
}

// If no request may wait, none is in the queue when a hold ends. It ends all
// the same, and the next request is the probe.
func TestHold_WithoutWaitersEnds(t *testing.T) {
	for _, wait := range []string{"MaxWait negative", "short deadlines"} {
		t.Run(wait, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(func(at time.Duration, _ *http.Request) (*http.Response, error) {
					if at == 0 {
						return answer(429, "Retry-After: 2"), nil
					}
					return answer(200), nil
				})
				tr := &holdoff.Transport{Base: h, Store: &holdoff.MemoryStore{}, MaxAttempts: 1}
				if wait == "MaxWait negative" {
					tr.MaxWait = -1
				}
				wants(t, tr, fleetKey+"/", 429)
				for range 40 {
					time.Sleep(100 * time.Millisecond)
					ctx, cancel := context.WithTimeout(t.Context(), ms)
					tr.RoundTrip(newRequest(t, "GET", fleetKey+"/", "").WithContext(ctx))
					cancel()
				}
				if n := h.between(1, 2*time.Second); n != 0 {
					t.Errorf("got %d sends in the hold, want none", n)
				}
				if n := h.between(2*time.Second, 3*time.Second); n < 5 {
					t.Errorf("got %d sends in the second after the hold, want most of ten", n)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}
