package holdoff

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// odd is a MemoryStore that can be away, or keep a grant under way for a while.
type odd struct {
	MemoryStore
	away  atomic.Bool
	slow  atomic.Int64 // how long the next grant takes to arrive, in ns
	asked atomic.Int64 // exchanges
}

func (s *odd) Report(ctx context.Context, key string, n Report) (Reply, error) {
	s.asked.Add(1)
	if s.away.Load() {
		return Reply{}, errors.New("away")
	}
	reply, err := s.MemoryStore.Report(ctx, key, n)
	if n.Want > 0 && reply.Snapshot.Permits > 0 {
		time.Sleep(time.Duration(s.slow.Swap(0)))
	}
	return reply, err
}

func (s *odd) Commit(ctx context.Context, key string, d Decision) (Reply, error) {
	if s.away.Load() {
		return Reply{}, errors.New("away")
	}
	reply, err := s.MemoryStore.Commit(ctx, key, d)
	if d.Want > 0 && reply.Snapshot.Permits > 0 {
		time.Sleep(time.Duration(s.slow.Swap(0)))
	}
	return reply, err
}

const fleetKey = "http://h.example"

// tell holds the key as another replica does that was told to wait.
func (s *odd) tell(t *testing.T, n Report) State {
	t.Helper()
	n.Replica = "another"
	n.Version = hold.Version
	reply, err := exchange(t.Context(), &s.MemoryStore, fleetKey, n)
	if err != nil {
		t.Fatal(err)
	}
	return reply.Snapshot
}

// Store case 16, 23: where the store goes away while another replica probes, or
// has the permits of the ramp, this one goes on by itself.
func TestStoreThatIsAwayInMidProbeStopsNobody(t *testing.T) {
	for _, phase := range []Phase{Held, Probing, Ramping} {
		for _, end := range []string{"away", "lost"} {
			t.Run(phase.String()+" and "+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := &odd{}
					tr := &Transport{Base: script(200), Store: store}
					wants(t, tr, fleetKey+"/", 200)
					store.tell(t, Report{Hint: 2 * time.Second, ServerDirected: true, Status: 429})
					time.Sleep(2 * time.Second)
					if phase != Held {
						s := store.tell(t, Report{Want: 1, Lease: time.Second})
						if phase == Ramping {
							store.tell(t, Report{Generation: s.Generation, Good: 1, Want: 2})
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
						store.keys = nil
						gateAt(t, tr, fleetKey+"/").told(State{Lost: true})
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
func TestSharedHoldOutlivesItsStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &odd{}
		answered := make(chan struct{})
		tr := &Transport{Store: store, MaxAttempts: 1, Base: baseFunc(func(*http.Request) (*http.Response, error) {
			<-answered
			return answer(429, "Retry-After: 5"), nil
		})}
		var wg sync.WaitGroup
		wg.Go(func() { wants(t, tr, fleetKey+"/", 429) })
		synctest.Wait()
		store.tell(t, Report{Hint: time.Minute, ServerDirected: true, Status: 429})
		end := time.Now().Add(time.Minute)
		store.away.Store(true)
		close(answered)
		wg.Wait()
		time.Sleep(30 * time.Second)
		if n := store.asked.Load(); n == 0 {
			t.Error("the store was not asked")
		}
		for s := range tr.Keys() {
			if s.Phase != Held || s.Until.Before(end) {
				t.Errorf("the replica is %v until %v before the end of the hold", s.Phase, end.Sub(s.Until))
			}
			return
		}
		t.Error("the replica has forgotten the hold")
	})
}

// Invariant i, across the store: a hint that arrives while permits are under way
// from the store is obeyed.
func TestHintIsNotUndercutByPermitsUnderWay(t *testing.T) {
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
		tr := &Transport{Base: base, Store: store, MaxAttempts: 1}
		var wg sync.WaitGroup
		wg.Go(func() { get(t, tr, fleetKey+"/late") })
		synctest.Wait()
		store.tell(t, Report{Hint: 2 * time.Second, ServerDirected: true, Status: 429})
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

// Store case 14, across replicas: a probe that was granted to a process whose
// waiters have left is another's.
func TestProbeForWhichNobodyWaitsIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &odd{}
		leaver := &Transport{Base: script(200), Store: store}
		stayer := &Transport{Base: script(200), Store: store}
		wants(t, leaver, fleetKey+"/", 200)
		gateAt(t, leaver, fleetKey+"/").latency.Store(int64(3 * time.Second)) // a lease of 12 s
		store.tell(t, Report{Hint: 2 * time.Second, ServerDirected: true, Status: 429})
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

// Store case 3, 7: refusals in flight, each a little later than the one before,
// are not an exchange each.
func TestRefusalsInFlightAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &odd{}
		var n atomic.Int64
		tr := &Transport{Store: store, MaxAttempts: 1, Base: baseFunc(func(*http.Request) (*http.Response, error) {
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

// Store case 32: where two halves of a fleet meet again, the longer hold wins,
// also of replicas that only heard of it.
func TestLongerHoldWinsWherePartsMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &odd{}
		tr := &Transport{Base: script(200), Store: store}
		wants(t, tr, fleetKey+"/", 200)
		store.tell(t, Report{Hint: 80 * time.Second, ServerDirected: true, Status: 429})
		end := time.Now().Add(80 * time.Second)
		time.Sleep(time.Second)
		// The other half's store, whose versions go on from here.
		other := &MemoryStore{version: 1000}
		reply, _ := exchange(t.Context(), other, fleetKey, Report{Replica: "another", Hint: 20 * time.Second, ServerDirected: true, Status: 503})
		store.mu.Lock()
		state := reply.Snapshot
		state.Version = store.version + 1
		store.version++
		store.keys[fleetKey].record = other.keys[fleetKey].record
		store.mu.Unlock()
		gateAt(t, tr, fleetKey+"/").told(state)
		synctest.Wait()
		time.Sleep(time.Second)
		for _, s := range store.All() {
			if s.Phase != Held || s.Until.Before(end) {
				t.Errorf("the fleet is %v until %v before the longer hold's end", s.Phase, end.Sub(s.Until))
			}
		}
		for s := range tr.Keys() {
			if s.Phase != Held || s.Until.Before(end) {
				t.Errorf("the replica is %v until %v before the longer hold's end", s.Phase, end.Sub(s.Until))
			}
		}
		if n := store.asked.Load(); n > 3 {
			t.Errorf("the store was told %d times, want once or twice", n)
		}
	})
}

// A hint that Redis took for an old one, because its clock went forward, is told
// again.
func TestHintThatTheStoreMissedIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &forgetful{}
		tr := &Transport{Base: script(with(429, "Retry-After: 10")), Store: store, MaxAttempts: 1}
		wants(t, tr, fleetKey+"/", 429)
		met := time.Now()
		time.Sleep(2 * storeRetry)
		for _, s := range store.All() {
			if s.Phase == Held && s.Until.Sub(met) >= 10*time.Second {
				return
			}
		}
		t.Errorf("the store does not know of the hold: it was asked %d times", store.asked)
	})
}

// forgetful takes the first hint for one that is over.
type forgetful struct {
	MemoryStore
	asked int
}

func (s *forgetful) Report(ctx context.Context, key string, n Report) (Reply, error) {
	if s.asked++; s.asked == 1 {
		n.Hint, n.ServerDirected = 0, false
	}
	return s.MemoryStore.Report(ctx, key, n)
}

// Store case 42, with a store that hangs: hosts that were forgotten don't wait
// for it.
func TestForgottenHostsLeaveTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hanging{until: make(chan struct{})}
		tr := &Transport{Base: script(with(429, "Retry-After: 240")), Store: store}
		for i := range 3 * maxKeys {
			get(t, tr, fmt.Sprintf("http://%d.example/", i))
		}
		l := tr.gates.link
		l.mu.Lock()
		n := len(l.queue)
		l.mu.Unlock()
		if n > 2*maxKeys {
			t.Errorf("%d hosts wait for the store, and %d are remembered", n, maxKeys)
		}
		close(store.until)
	})
}

// hanging is a store that answers when it is let.
type hanging struct {
	MemoryStore
	until chan struct{}
}

func (s *hanging) Report(ctx context.Context, key string, n Report) (Reply, error) {
	<-s.until
	return s.MemoryStore.Report(ctx, key, n)
}

// What is long over is not shown as held.
func TestKeysForgetsWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &MemoryStore{}
		told := &Transport{Base: script(with(429, "Retry-After: 2")), Store: store, MaxAttempts: 1}
		unused := &Transport{Store: store}
		wants(t, told, fleetKey+"/", 429)
		synctest.Wait()
		for name, tr := range map[string]*Transport{"the one that was told": told, "one that was not used": unused} {
			n := 0
			for s := range tr.Keys() {
				n++
				if s.Key != fleetKey || s.Phase != Held || s.Last.IsZero() {
					t.Errorf("%s: got %+v", name, s)
				}
			}
			if n != 1 {
				t.Errorf("%s: got %d keys, want 1", name, n)
			}
		}
		time.Sleep(time.Hour)
		for _, tr := range []*Transport{told, unused} {
			for s := range tr.Keys() {
				t.Errorf("an hour later: got %v", s)
			}
		}
	})
}

// Where no request may wait, nobody stands in line when a hold ends. It ends all
// the same, and the next request is the probe.
func TestHoldEndsWhereNobodyMayWait(t *testing.T) {
	for _, wait := range []string{"MaxWait negative", "short deadlines"} {
		t.Run(wait, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(func(at time.Duration, _ *http.Request) (*http.Response, error) {
					if at == 0 {
						return answer(429, "Retry-After: 2"), nil
					}
					return answer(200), nil
				})
				tr := &Transport{Base: h, Store: &MemoryStore{}, MaxAttempts: 1}
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

// A request that comes to a gate at the moment at which that is forgotten is
// served when the hold ends, though nobody else will use the gate.
func TestWhoComesToAnEvictedGateIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &Transport{
			Base:  roundTripper(func(*http.Request) (*http.Response, error) { return answer(429, "Retry-After: 3"), nil }),
			Store: &MemoryStore{}, MaxAttempts: 1,
		}
		wants(t, tr, fleetKey+"/", 429)
		synctest.Wait()
		g := gateAt(t, tr, fleetKey+"/")
		g.mu.Lock()
		g.discard()
		g.mu.Unlock()
		begun := time.Now()
		w := &waiter{latest: begun.Add(time.Minute)}
		if inLine, err := g.join(w); !inLine || err != nil {
			t.Fatalf("in line: %t, %v; want a held key", inLine, err)
		}
		err := g.stand(t.Context(), w, false)
		if d := time.Since(begun); err != nil || !w.pass.Limited || d > 4*time.Second {
			t.Errorf("after %v: %v, %+v; want the probe's permit after 3 s", d, err, w.pass)
		}
		time.Sleep(time.Hour)
	})
}
