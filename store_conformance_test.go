package holdoff

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/redisrun"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// The rules of a key, as every Store has to keep them: told to, and asked of,
// two handles a and b that stand for two replicas. Time is virtual for the
// MemoryStore and real for the RedisStore, which therefore may try a rule again
// with another key where the machine was too slow for it.

func TestMemoryStoreKeepsTheRules(t *testing.T) {
	for _, rule := range storeRules {
		t.Run(rule.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &MemoryStore{}
				rule.check(&storeRig{t: t, a: s, b: s, key: "https://api.example.com"})
			})
		})
	}
}

func TestRedisStoreKeepsTheRules(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	testStore(t, func(t *testing.T) (a, b Store) {
		return redisStore(t, srv.Client(), RedisOptions{}), redisStore(t, srv.Client(), RedisOptions{})
	})
}

func TestRedisStoreKeepsTheRulesOnACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("a Cluster takes a while")
	}
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	testStore(t, func(t *testing.T) (a, b Store) {
		return redisStore(t, cluster.Client(), RedisOptions{}), redisStore(t, cluster.Client(), RedisOptions{})
	})
}

// redisStore makes a store that is closed at the end of the test.
func redisStore(t testing.TB, client RedisClient, opts RedisOptions) *RedisStore {
	t.Helper()
	s, err := NewRedisStore(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// testStore checks all rules at once, in real time, each with keys of its own.
func testStore(t *testing.T, newPair func(t *testing.T) (a, b Store)) {
	a, b := newPair(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	// Few at a time: they mind the clock.
	turn := make(chan struct{}, 8)
	type result struct{ name, failure string }
	results := make(chan result, len(storeRules))
	for i, rule := range storeRules {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			var failure error
			for try := range 8 {
				rig := &storeRig{a: a, b: b, key: fmt.Sprintf("https://%d.%d.example.com", i, try), real: true}
				if failure = rig.run(rule.check); !errors.Is(failure, errSlow) {
					break
				}
			}
			r := result{name: rule.name}
			if failure != nil {
				r.failure = failure.Error()
			}
			results <- r
		})
	}
	for range storeRules {
		r := <-results
		t.Run(r.name, func(t *testing.T) {
			if r.failure != "" {
				t.Error(r.failure)
			}
		})
	}
}

// storeRig is what a rule is checked with.
type storeRig struct {
	t    *testing.T // nil in real time: several rules share the test
	a, b Store
	key  string
	real bool
}

var errSlow = errors.New("the machine was too slow for this")

// ruleFailure is a failed rule, as it is thrown.
type ruleFailure struct{ error }

// run checks a rule outside of a test's own goroutine.
func (r *storeRig) run(check func(*storeRig)) (err error) {
	defer func() {
		if f, ok := recover().(ruleFailure); ok {
			err = f.error
		}
	}()
	check(r)
	return nil
}

func (r *storeRig) fatalf(format string, args ...any) {
	if r.t != nil {
		r.t.Helper()
		r.t.Fatalf(format, args...)
	}
	panic(ruleFailure{fmt.Errorf(format, args...)})
}

// before gives the rule up for now where the clock has got too close to end:
// what was done since belongs to another slot.
func (r *storeRig) before(end time.Time) {
	if r.real && time.Until(end) < 10*time.Millisecond {
		panic(ruleFailure{errSlow})
	}
}

// say speaks as the replica that s stands for.
func (r *storeRig) say(s *Store, n News) State {
	n.Replica = "a"
	if s == &r.b {
		n.Replica = "b"
	}
	if n.Lease == 0 {
		n.Lease = time.Second // a longer one tells of a slow host
	}
	state, err := (*s).Exchange(context.Background(), r.key, n)
	if err != nil {
		if r.real && (errors.Is(err, redisrun.ErrLate) || errors.Is(err, errAway) || errors.Is(err, errBusy)) {
			panic(ruleFailure{errSlow})
		}
		r.fatalf("Exchange: %v", err)
	}
	return state
}

func (r *storeRig) want(state State, phase Phase, level int, what string) {
	if state.Phase != phase || state.Level != level {
		if r.t != nil {
			r.t.Helper()
		}
		r.fatalf("%s: %v at level %d, want %v at level %d: %+v", what, state.Phase, state.Level, phase, level, state)
	}
}

func (r *storeRig) permits(state State, n int, what string) {
	if state.Permits != n {
		if r.t != nil {
			r.t.Helper()
		}
		r.fatalf("%s: %d permits, want %d: %+v", what, state.Permits, n, state)
	}
}

// slackOfRules is by how much real time may miss what a rule says: a store notes
// who was denied once a slot.
const slackOfRules = hold.Slot

// sleepPast sleeps until t is over.
func sleepPast(t time.Time) { time.Sleep(time.Until(t) + 5*time.Millisecond) }

// hint holds the key by the server's word.
func (r *storeRig) hint(s *Store, d time.Duration) State {
	return r.say(s, News{Hint: d, Word: true, Status: 429})
}

// probe brings the key into a hold and beyond, and takes the probe for a.
func (r *storeRig) probe() State {
	state := r.hint(&r.a, 50*time.Millisecond)
	r.want(state, Held, 0, "a hint")
	sleepPast(state.Until)
	state = r.say(&r.a, News{Want: 1, Lease: 10 * time.Second})
	r.want(state, Probing, 0, "after the hold")
	r.permits(state, 1, "after the hold")
	return state
}

// ramp brings the key to the first slot of a ramp, of which nothing is used.
func (r *storeRig) ramp() State {
	state := r.probe()
	state = r.say(&r.a, News{Generation: state.Generation, Good: 1})
	r.want(state, Ramping, 0, "a good probe")
	return state
}

// paced brings the key to the first slot of a pace, of which nothing is used: a
// hundred were taken and as many refused.
func (r *storeRig) paced() State {
	return r.pacedFrom(r.say(&r.a, News{Refusals: 1, Status: 429}))
}

func (r *storeRig) pacedFrom(counted State) State {
	r.want(counted, Counted, 0, "refusals")
	r.say(&r.a, News{Generation: counted.Generation, Good: 50, Refused: 60, Status: 429})
	r.say(&r.b, News{Generation: counted.Generation, Good: 50, Refused: 40, Status: 429})
	r.before(counted.Until)
	sleepPast(counted.Until)
	state := r.say(&r.b, News{})
	r.want(state, Paced, 0, "after counting")
	if state.Rate < 100 || state.Rate > 200 {
		r.fatalf("%v per second, and a hundred were taken in half a second or a little more", state.Rate)
	}
	return state
}

var storeRules = []struct {
	name  string
	check func(*storeRig)
}{
	// Store case 1.
	{"a hint holds the key for all until it ends", func(r *storeRig) {
		asked := time.Now()
		state := r.hint(&r.a, 400*time.Millisecond)
		for _, s := range []*Store{&r.a, &r.b} {
			state = r.say(s, News{Want: 5})
			if time.Since(asked) > 400*time.Millisecond {
				panic(ruleFailure{errSlow})
			}
			r.want(state, Held, 0, "in the hold")
			r.permits(state, 0, "in the hold")
			if !state.Word || state.Attempts != 1 || state.Status != 429 || state.Last.IsZero() {
				r.fatalf("the hold rests on the server's word, after one 429: %+v", state)
			}
		}
		if state.Until.Before(asked.Add(400 * time.Millisecond)) {
			r.fatalf("the hold ends %v before the hint", asked.Add(400*time.Millisecond).Sub(state.Until))
		}
		if state.Until.After(time.Now().Add(500 * time.Millisecond)) {
			r.fatalf("the hold ends in %v, and the hint was 400ms", time.Until(state.Until))
		}
	}},
	// Store case 8.
	{"a longer hint extends a hold, a shorter one does not shorten it", func(r *storeRig) {
		first := r.hint(&r.a, time.Second)
		longer := r.hint(&r.b, 3*time.Second)
		if longer.Until.Sub(first.Until) < time.Second {
			r.fatalf("a hint of 3 s after one of 1 s extends the hold by %v", longer.Until.Sub(first.Until))
		}
		shorter := r.hint(&r.a, 500*time.Millisecond)
		if d := longer.Until.Sub(shorter.Until); d > 100*time.Millisecond {
			r.fatalf("a hint of 500 ms shortens the hold by %v", d)
		}
		r.want(shorter, Held, 0, "three hints")
		if shorter.Generation != first.Generation || shorter.Attempts != 3 {
			r.fatalf("three hints are one hold and three attempts: %+v", shorter)
		}
	}},
	// Store case 4.
	{"one probe for all", func(r *storeRig) {
		state := r.hint(&r.a, 50*time.Millisecond)
		sleepPast(state.Until)
		var mu sync.Mutex
		var wg sync.WaitGroup
		granted := 0
		var failure error
		for i := range 20 {
			s := &r.a
			if i%2 == 1 {
				s = &r.b
			}
			wg.Go(func() {
				rig := *r
				rig.t, rig.real = nil, true
				err := rig.run(func(r *storeRig) {
					state := r.say(s, News{Want: 3, Lease: 10 * time.Second})
					r.want(state, Probing, 0, "after the hold")
					mu.Lock()
					defer mu.Unlock()
					granted += state.Permits
				})
				mu.Lock()
				defer mu.Unlock()
				failure = errors.Join(failure, err)
			})
		}
		wg.Wait()
		if errors.Is(failure, errSlow) {
			panic(ruleFailure{errSlow})
		}
		if failure != nil || granted != 1 {
			r.fatalf("%d probes were granted, want 1 (%v)", granted, failure)
		}
	}},
	// Store case 36.
	{"a lease that runs out lets the next replica probe", func(r *storeRig) {
		state := r.hint(&r.a, 50*time.Millisecond)
		sleepPast(state.Until)
		lease := r.say(&r.a, News{Want: 1, Lease: 300 * time.Millisecond})
		r.permits(lease, 1, "the first to ask")
		r.before(lease.Until)
		state = r.say(&r.b, News{Want: 1})
		r.before(lease.Until)
		r.permits(state, 0, "while the first has its lease")
		sleepPast(lease.Until)
		state = r.say(&r.b, News{Want: 1, Lease: 10 * time.Second})
		r.want(state, Probing, 0, "after the lease")
		r.permits(state, 1, "after the lease")
		state = r.say(&r.a, News{Want: 1})
		r.permits(state, 0, "while the second has its lease")
		// The first was slow, not gone, and what it found is news all the same.
		r.want(r.say(&r.a, News{Generation: lease.Generation, Good: 1}), Ramping, 0, "a late good probe")
	}},
	{"a good probe begins a ramp of two permits", func(r *storeRig) {
		state := r.ramp()
		end := state.Until
		a := r.say(&r.a, News{Want: 1})
		b := r.say(&r.b, News{Want: 5})
		more := r.say(&r.a, News{Want: 5})
		r.before(end)
		if a.Permits != 1 || b.Permits != 1 || more.Permits != 0 {
			r.fatalf("permits %d, %d, %d, want 1, 1, 0", a.Permits, b.Permits, more.Permits)
		}
	}},
	// Store case 4.
	{"a ramp doubles while it is used and answered", func(r *storeRig) {
		state := r.ramp()
		for permits := 2; permits <= 16; permits *= 2 {
			end := state.Until
			half := r.say(&r.a, News{Want: permits / 2})
			rest := r.say(&r.b, News{Want: 100})
			r.before(end)
			if half.Permits+rest.Permits != permits {
				r.fatalf("the slot grants %d and %d, want %d in all", half.Permits, rest.Permits, permits)
			}
			r.say(&r.a, News{Generation: state.Generation, Good: half.Permits})
			r.say(&r.b, News{Generation: state.Generation, Good: rest.Permits})
			r.before(end)
			sleepPast(end)
			state = r.say(&r.b, News{})
			r.want(state, Ramping, 0, "after a slot that was used")
		}
	}},
	{"a ramp whose answers are slow grows no further", func(r *storeRig) {
		state := r.ramp()
		end := state.Until
		r.permits(r.say(&r.a, News{Want: 2}), 2, "the first slot")
		r.before(end)
		sleepPast(end)
		state = r.say(&r.a, News{Want: 100})
		r.want(state, Ramping, 0, "without an answer")
		r.permits(state, 2, "without an answer")
	}},
	{"a ramp ends when less than half of it is used", func(r *storeRig) {
		state := r.ramp()
		end := state.Until
		r.permits(r.say(&r.a, News{Want: 2}), 2, "the first slot")
		r.say(&r.a, News{Generation: state.Generation, Good: 2})
		r.before(end)
		sleepPast(end)
		state = r.say(&r.b, News{Want: 1})
		end = state.Until
		r.want(state, Ramping, 0, "the second slot")
		r.before(end)
		sleepPast(end)
		state = r.say(&r.a, News{})
		r.want(state, Healthy, 0, "after a slot of 4 of which 1 was used")
		if state.Attempts != 0 || state.Word {
			r.fatalf("nothing is held against a key that got well: %+v", state)
		}
	}},
	// Store case 5.
	{"a bad probe holds the key again, a level up", func(r *storeRig) {
		for _, bad := range []News{{Refused: 1, Status: 429}, {Bad: 1, Status: 503}} {
			r.key += "x"
			probe := r.probe()
			bad.Generation = probe.Generation
			state := r.say(&r.a, bad)
			r.want(state, Held, 1, "a bad probe")
			if state.Generation != probe.Generation+1 || state.Word || state.Status != bad.Status || state.Attempts != 2 {
				r.fatalf("after a bad probe: %+v", state)
			}
			if left := time.Until(state.Until); left > time.Second+10*time.Millisecond {
				r.fatalf("the second hold is %v, want 1 s at most", left)
			}
			r.permits(r.say(&r.b, News{Want: 1}), 0, "in the second hold")
		}
	}},
	// Store case 5.
	{"the hint of a bad probe is the next hold's length", func(r *storeRig) {
		probe := r.probe()
		state := r.say(&r.a, News{Generation: probe.Generation, Refused: 1, Hint: 4 * time.Second, Word: true, Status: 429})
		r.want(state, Held, 1, "a bad probe")
		if left := time.Until(state.Until); !state.Word || left < 3*time.Second || left > 4100*time.Millisecond {
			r.fatalf("the second hold is %v, want 4 s: %+v", left, state)
		}
	}},
	// Store case 6.
	{"a hint ends the ramp, and its permits are void", func(r *storeRig) {
		ramp := r.ramp()
		r.say(&r.a, News{Want: 1})
		r.say(&r.b, News{Want: 1})
		state := r.say(&r.b, News{Generation: ramp.Generation, Refused: 1, Hint: time.Second, Word: true, Status: 429})
		r.before(ramp.Until)
		r.want(state, Held, 1, "a hint in the ramp")
		state = r.say(&r.a, News{Generation: ramp.Generation, Good: 1, Want: 1})
		r.want(state, Held, 1, "a permit of the old generation")
		r.permits(state, 0, "in the hold")
	}},
	// A ramp that ended at each failure would never end well where one path fails.
	{"a failure among successes does not end the ramp", func(r *storeRig) {
		ramp := r.ramp()
		r.say(&r.a, News{Want: 2})
		state := r.say(&r.a, News{Generation: ramp.Generation, Good: 1, Bad: 1, Status: 500})
		r.before(ramp.Until)
		r.want(state, Ramping, 0, "one of two failed")
	}},
	{"a ramp of failures alone ends", func(r *storeRig) {
		ramp := r.ramp()
		r.say(&r.a, News{Want: 2})
		state := r.say(&r.a, News{Generation: ramp.Generation, Bad: 10, Status: 500})
		r.before(ramp.Until)
		r.want(state, Held, 1, "ten failures")
	}},
	// Store case 7.
	{"of many failures in flight one escalates", func(r *storeRig) {
		ramp := r.ramp()
		r.say(&r.a, News{Generation: ramp.Generation, Bad: 400, Status: 503})
		state := r.say(&r.b, News{Generation: ramp.Generation, Bad: 400, Status: 503})
		r.before(ramp.Until)
		r.want(state, Held, 1, "800 failures")
		if state.Generation != ramp.Generation+1 {
			r.fatalf("800 failures begin %d holds", state.Generation-ramp.Generation)
		}
	}},
	{"twenty failures of two witnesses hold the key", func(r *storeRig) {
		state := r.say(&r.a, News{Failures: 10, Status: 503})
		r.want(state, Healthy, 0, "ten failures")
		state = r.say(&r.b, News{Failures: 9, Status: 502})
		r.want(state, Healthy, 0, "nineteen failures")
		if state.Attempts != 19 || state.Witnesses != 2 || state.Status != 502 {
			r.fatalf("after nineteen failures: %+v", state)
		}
		state = r.say(&r.a, News{Failures: 1, Status: 503})
		r.want(state, Held, 0, "twenty failures")
		if left := time.Until(state.Until); state.Word || state.Witnesses != 2 || left > 510*time.Millisecond {
			r.fatalf("a hold of %v by failures: %+v", left, state)
		}
	}},
	{"failures of one witness hold nobody", func(r *storeRig) {
		for range 5 {
			r.want(r.say(&r.a, News{Failures: 20, Status: 503}), Healthy, 0, "one witness")
		}
		r.want(r.say(&r.b, News{Failures: 1, Status: 503}), Held, 0, "a second witness")
	}},
	{"a success ends the row of failures", func(r *storeRig) {
		r.say(&r.a, News{Failures: 10, Status: 503})
		r.say(&r.b, News{Failures: 9, Status: 503})
		state := r.say(&r.b, News{Well: true})
		r.want(state, Healthy, 0, "a success")
		if state.Attempts != 0 || state.Witnesses != 0 {
			r.fatalf("after a success: %+v", state)
		}
		r.want(r.say(&r.a, News{Failures: 19, Status: 503}), Healthy, 0, "nineteen failures")
		r.want(r.say(&r.b, News{Failures: 1, Status: 503}), Held, 0, "the twentieth")
	}},
	// Store case 10.
	{"a success from before the hold does not end it", func(r *storeRig) {
		state := r.hint(&r.a, time.Second)
		r.want(r.say(&r.b, News{Generation: state.Generation - 1, Good: 3}), Held, 0, "an old success")
		r.want(r.say(&r.b, News{Well: true}), Held, 0, "a success of a healthy key")
	}},
	// Store case 11.
	{"a late failure of an older hold counts only with a hint", func(r *storeRig) {
		ramp := r.ramp()
		r.say(&r.a, News{Generation: ramp.Generation, Refused: 1, Hint: time.Second, Word: true, Status: 429})
		r.before(ramp.Until)
		state := r.say(&r.b, News{Generation: ramp.Generation, Bad: 5, Status: 500})
		if state.Level != 1 || state.Attempts != 2 || state.Status != 429 {
			r.fatalf("a failure of the older hold: %+v", state)
		}
		state = r.say(&r.b, News{Generation: ramp.Generation, Refused: 1, Hint: 4 * time.Second, Word: true, Status: 429})
		if left := time.Until(state.Until); state.Level != 1 || !state.Word || left < 3*time.Second {
			r.fatalf("a hint of the older hold: %v left of %+v", left, state)
		}
	}},
	{"a late hint in the ramp holds the key, without a level more", func(r *storeRig) {
		ramp := r.ramp()
		state := r.say(&r.b, News{Generation: ramp.Generation - 1, Refused: 1, Hint: 4 * time.Second, Word: true, Status: 429})
		r.before(ramp.Until)
		r.want(state, Held, 0, "a late hint")
	}},
	// Store case 14.
	{"a probe that was not made is for another", func(r *storeRig) {
		probe := r.probe()
		state := r.say(&r.a, News{Generation: probe.Generation, Returned: 1})
		r.want(state, Probing, 0, "a probe handed back")
		if left := time.Until(state.Until); left > hold.Slot {
			r.fatalf("a probe that was handed back is leased for %v, want %v at most", left, hold.Slot)
		}
		sleepPast(state.Until)
		r.permits(r.say(&r.b, News{Want: 1}), 1, "after it")
	}},
	// Store case 9.
	{"a relapse goes on with the next level", func(r *storeRig) {
		ramp := r.ramp()
		sleepPast(ramp.Until)
		r.want(r.say(&r.a, News{}), Healthy, 0, "a ramp that nobody used")
		state := r.hint(&r.b, 2*time.Second)
		if state.Generation != ramp.Generation+1 || state.Phase != Held {
			r.fatalf("a second hold: %+v after %+v", state, ramp)
		}
	}},
	// Store case 38.
	{"who begins to watch is told at once, and of every change by another", func(r *storeRig) {
		held := r.hint(&r.a, 200*time.Millisecond)
		states := make(chan State, 1000)
		var stop func()
		r.soon("what holds is told on the spot", func() bool {
			stop = r.b.Watch(r.key, func(s State) { states <- s })
			if len(states) > 0 {
				return true
			}
			stop() // it has not come across yet
			return false
		})
		defer stop()
		state := <-states
		if state.Phase != Held || !state.Word || state.Until.Sub(held.Until).Abs() > 100*time.Millisecond {
			r.fatalf("told %+v, want %+v", state, held)
		}
		sleepPast(held.Until)
		probe := r.say(&r.a, News{Want: 1})
		r.told(states, Probing)
		r.say(&r.a, News{Generation: probe.Generation, Good: 1})
		ramp := r.told(states, Ramping)
		sleepPast(ramp.Until)
		r.say(&r.a, News{})
		r.told(states, Healthy)
	}},
	{"refusals have everybody count, and little of them ends well", func(r *storeRig) {
		state := r.say(&r.a, News{Refusals: 1, Status: 429})
		r.want(state, Counted, 0, "refusals")
		end := state.Until
		if left := time.Until(end); left > 500*time.Millisecond+5*time.Millisecond || left < 500*time.Millisecond-50*time.Millisecond {
			r.fatalf("counted for %v, want %v", left, 500*time.Millisecond)
		}
		r.permits(r.say(&r.b, News{Want: 5}), 0, "where everybody sends") // nobody has to ask
		r.say(&r.a, News{Generation: state.Generation, Good: 60})
		r.say(&r.b, News{Generation: state.Generation, Good: 40, Refused: 5, Status: 429})
		r.before(end)
		r.want(r.say(&r.b, News{Refusals: 1}), Counted, 0, "more refusals")
		sleepPast(end)
		r.want(r.say(&r.a, News{}), Healthy, 0, "five of a hundred refused")
		r.want(r.say(&r.a, News{Refusals: 1, Status: 429}), Healthy, 0, "refusals again")
	}},
	{"a server that refuses its surplus is fed at its own rate", func(r *storeRig) {
		state := r.paced()
		end := state.Until
		a, b := r.say(&r.a, News{Want: 4}), r.say(&r.b, News{Want: 256})
		r.before(end)
		if n := a.Permits + b.Permits; n < 8 || n > 20 || a.Permits != 4 {
			r.fatalf("the slot grants %d and %d of 100 to 200 a second: %+v", a.Permits, b.Permits, b)
		}
		r.permits(r.say(&r.a, News{Want: 1}), 0, "a slot that is used up")
		// Refusals cut it to what was taken.
		cut := (a.Permits + b.Permits) * 3 / 4
		state = r.say(&r.a, News{Generation: state.Generation, Good: cut, Refused: 3, Status: 429})
		r.before(end)
		sleepPast(end)
		state = r.say(&r.b, News{Want: 256})
		r.want(state, Paced, 0, "after refusals")
		if state.Rate >= b.Rate || state.Rate < 0.74*b.Rate || state.Permits > a.Permits+b.Permits {
			r.fatalf("%v per second and %d permits after refusals, want less than %v", state.Rate, state.Permits, b.Rate)
		}
	}},
	{"what counting sent does not count against the rate", func(r *storeRig) {
		counted := r.say(&r.a, News{Refusals: 1, Status: 429})
		state := r.pacedFrom(counted)
		if state.Generation != counted.Generation+1 {
			r.fatalf("generation %d after %d, want the next", state.Generation, counted.Generation)
		}
		end := state.Until
		slot := r.say(&r.b, News{Want: 256})
		r.say(&r.a, News{Generation: counted.Generation, Refused: 100, Status: 429})
		r.say(&r.b, News{Generation: state.Generation, Good: slot.Permits})
		r.before(end)
		sleepPast(end)
		if next := r.say(&r.b, News{}); next.Phase != Paced || next.Rate < 1.04*state.Rate || next.Rate > 1.06*state.Rate {
			r.fatalf("%+v after %+v, want it grown: refusals of counted sends do not cut the rate", next, state)
		}
	}},
	{"a server that takes nothing is held until what it asked", func(r *storeRig) {
		state := r.say(&r.a, News{Refusals: 1, Status: 429})
		end := state.Until
		r.say(&r.b, News{Generation: state.Generation, Refused: 6, Hint: 1500 * time.Millisecond, Status: 429})
		asked := time.Now().Add(1500 * time.Millisecond)
		r.before(end)
		sleepPast(end)
		held := r.say(&r.a, News{Want: 1})
		r.want(held, Held, 0, "nothing taken")
		if d := held.Until.Sub(asked).Abs(); d > 50*time.Millisecond || held.Word || held.Generation != state.Generation+1 {
			r.fatalf("held until %v from when was asked: %+v", d, held)
		}
	}},
	{"a pace that nobody uses ends in a ramp, and in health", func(r *storeRig) {
		state := r.paced()
		sleepPast(state.Until)
		state = r.say(&r.a, News{})
		r.want(state, Ramping, 0, "an unused slot")
		sleepPast(state.Until)
		r.want(r.say(&r.b, News{}), Healthy, 0, "an unused ramp")
	}},
	{"a pace goes on until nobody was denied for a second", func(r *storeRig) {
		state := r.paced()
		slot := r.say(&r.a, News{Want: 256})
		denied := time.Now()
		r.say(&r.a, News{Generation: state.Generation, Good: slot.Permits})
		r.before(state.Until)
		for range 3 {
			sleepPast(state.Until)
			state = r.say(&r.b, News{})
			if time.Since(denied) > time.Second-slackOfRules {
				panic(ruleFailure{errSlow})
			}
			r.want(state, Paced, 0, "a slot that nobody used")
		}
		sleepPast(denied.Add(time.Second + slackOfRules))
		r.want(r.say(&r.a, News{}), Ramping, 0, "a second later")
	}},
	{"slots come at the rate, though who asks is late", func(r *storeRig) {
		state := r.paced()
		r.say(&r.a, News{Want: 256})
		r.before(state.Until)
		sleepPast(state.Until.Add(30 * time.Millisecond))
		next := r.say(&r.b, News{})
		r.want(next, Paced, 0, "30 ms late")
		if time.Since(state.Until) > hold.Slot {
			panic(ruleFailure{errSlow})
		}
		if d := next.Until.Sub(state.Until); d > hold.Slot+5*time.Millisecond {
			r.fatalf("a slot ends %v after the one before, want %v", d, hold.Slot)
		}
	}},
	{"a host that answers late is counted and paced for longer", func(r *storeRig) {
		state := r.say(&r.a, News{Refusals: 1, Status: 429, Lease: 4 * time.Second})
		r.want(state, Counted, 0, "refusals")
		if d := time.Until(state.Until); d > time.Second+5*time.Millisecond || d < time.Second-50*time.Millisecond {
			r.fatalf("counted for %v, want a second", d)
		}
		r.say(&r.a, News{Generation: state.Generation, Good: 100, Refused: 10, Status: 429})
		r.before(state.Until)
		sleepPast(state.Until)
		state = r.say(&r.b, News{Lease: 4 * time.Second})
		r.want(state, Paced, 0, "after counting")
		if d := time.Until(state.Until); state.Rate < 80 || state.Rate > 100 || d > time.Second+5*time.Millisecond || d < 900*time.Millisecond {
			r.fatalf("%v per second in slots of %v, want a hundred in a second", state.Rate, d)
		}
	}},
	{"a rate that is used up grows, the bolder the longer nothing is refused, and falls to what was proven", func(r *storeRig) {
		state := r.paced()
		begun := state.Rate
		for i := range 15 {
			before, end := state.Rate, state.Until
			granted := r.say(&r.a, News{Want: 256})
			r.say(&r.b, News{Generation: state.Generation, Good: granted.Permits})
			r.before(end)
			sleepPast(end)
			if state = r.say(&r.a, News{}); time.Since(end) > hold.Slot/2 {
				panic(ruleFailure{errSlow})
			}
			r.want(state, Paced, 0, "a slot that was used up")
			least, most := 1+0.05, 1+0.05
			switch clean := i + 1; {
			case clean > 2*6:
				least, most = 1+4*0.05, 1+4*0.05
			case clean > 6:
				least, most = 1+2*0.05, 1+4*0.05
			case clean == 6:
				most = 1 + 2*0.05
			}
			if grown := state.Rate / before; grown < least-0.01 || grown > most+0.01 {
				r.fatalf("slot %d: the rate grew by %v, want %v to %v", i, grown, least, most)
			}
		}
		// Twice what is proven, or more: it falls at once to three quarters or to that.
		before, proven := state.Rate, begun*math.Pow(1+0.05, 15)
		r.say(&r.a, News{Want: 256})
		r.say(&r.b, News{Generation: state.Generation, Good: 2, Refused: 20, Status: 429})
		r.before(state.Until)
		sleepPast(state.Until)
		state = r.say(&r.a, News{})
		if want := min(0.75*before, proven); state.Phase != Paced || state.Rate > 1.05*want || state.Rate < 0.9*want {
			r.fatalf("%v at %v per second after a bold step was refused, want %v", state.Phase, state.Rate, want)
		}
	}},
	{"a pause is not a time in which nothing is refused", func(r *storeRig) {
		state := r.paced()
		granted := r.say(&r.a, News{Want: 256})
		r.say(&r.a, News{Generation: state.Generation, Good: granted.Permits})
		r.before(state.Until)
		sleepPast(state.Until.Add(8 * hold.Slot))
		after := r.say(&r.b, News{})
		r.want(after, Paced, 0, "after a pause")
		if after.Rate > 1.001*state.Rate {
			r.fatalf("%v per second after a pause, want %v as before", after.Rate, state.Rate)
		}
	}},
	{"a ramp does not take a refill for granted that no answer has told of", func(r *storeRig) {
		key := r.key
		for i, tt := range []struct{ left, now, least, most int }{
			{14, 399, 30, 90}, // refilled
			{14, 12, 1, 5},
		} {
			r.key = fmt.Sprintf("%s%d", key, i)
			state := r.ramp()
			for size := 2; ; size *= 2 {
				r.permits(r.say(&r.b, News{Want: 256}), size, "the ramp")
				n := News{Generation: state.Generation, Good: size}
				if size == 8 {
					n.Left, n.Refill = tt.left, 40*time.Millisecond
				}
				r.say(&r.a, n)
				r.before(state.Until)
				sleepPast(state.Until)
				if state = r.say(&r.a, News{}); size == 8 {
					break
				}
			}
			r.want(state, Rationed, 0, "after a refill that nobody has seen")
			if state.Rate < 10 || state.Rate > 14 {
				r.fatalf("%v per second, want 14 in 1.1 s", state.Rate)
			}
			r.say(&r.a, News{Want: 256})
			r.say(&r.b, News{Generation: state.Generation, Left: tt.now, Refill: 1500 * time.Millisecond})
			r.before(state.Until)
			sleepPast(state.Until)
			next := r.say(&r.b, News{Want: 256})
			if next.Permits < tt.least || next.Permits > tt.most {
				r.fatalf("%d permits where %d are said to be left, want %d to %d", next.Permits, tt.now, tt.least, tt.most)
			}
		}
	}},
	{"requests that are refused again and again end a pace, unless their kind is taken", func(r *storeRig) {
		key := r.key
		for i, tt := range []struct {
			cured, stubborn int
			want            Phase
		}{{0, 5, Ramping}, {0, 5 - 1, Paced}, {1, 5 + 3 - 1, Paced}, {1, 5 + 3, Ramping}} {
			r.key = fmt.Sprintf("%s%d", key, i)
			state := r.paced()
			good := r.say(&r.a, News{Want: 256}).Permits - tt.stubborn
			r.say(&r.b, News{Generation: state.Generation, Refused: tt.stubborn, RefusedRetries: tt.stubborn, Status: 429})
			r.say(&r.a, News{Generation: state.Generation, Good: good, GoodRetries: tt.cured})
			r.before(state.Until)
			sleepPast(state.Until)
			r.want(r.say(&r.a, News{}), tt.want, 0, fmt.Sprintf("%d refused again and %d taken", tt.stubborn, tt.cured))
		}
	}},
	{"a key that was counted was well before", func(r *storeRig) {
		r.want(r.say(&r.a, News{Refusals: 1, Status: 429}), Counted, 0, "refusals")
		time.Sleep(500*time.Millisecond + 10*time.Millisecond)
		r.want(r.say(&r.a, News{}), Healthy, 0, "nothing refused")
		r.say(&r.a, News{Failures: 20, Status: 503})
		held := r.say(&r.b, News{Failures: 1, Status: 503})
		r.want(held, Held, 0, "failures that two have seen")
		if held.Level != 0 {
			r.fatalf("level %d, want the first hold", held.Level)
		}
	}},
	{"the end of a count may be found late", func(r *storeRig) {
		counted := r.say(&r.a, News{Refusals: 1, Status: 429})
		r.say(&r.a, News{Generation: counted.Generation, Good: 100, Refused: 100, Status: 429})
		time.Sleep(4 * 500 * time.Millisecond)
		state := r.say(&r.b, News{})
		r.want(state, Paced, 0, "after counting")
		if state.Rate != 100 {
			r.fatalf("%v per second, want a hundred", state.Rate)
		}
	}},
	{"a key that is left alone is not paced by a ramp, and held where it takes nothing", func(r *storeRig) {
		counted := r.say(&r.a, News{Refusals: 1, Status: 429})
		r.want(counted, Counted, 0, "refusals")
		sleepPast(counted.Until)
		r.want(r.say(&r.a, News{}), Healthy, 0, "nothing refused")
		ramp := r.ramp()
		r.permits(r.say(&r.b, News{Want: 2}), 2, "the ramp")
		r.want(r.say(&r.b, News{Generation: ramp.Generation, Refused: 1, Status: 429}), Ramping, 0, "a refusal")
		r.say(&r.b, News{Generation: ramp.Generation, Refused: 1, Hint: 1500 * time.Millisecond, Status: 429})
		asked := time.Now().Add(1500 * time.Millisecond)
		r.before(ramp.Until)
		sleepPast(ramp.Until)
		held := r.say(&r.a, News{})
		r.want(held, Held, 0, "two of two refused")
		if d := held.Until.Sub(asked).Abs(); d > 50*time.Millisecond || held.Word {
			r.fatalf("held until %v from when was asked: %+v", d, held)
		}
	}},
	{"a refusal in a ramp paces the key at what it took before", func(r *storeRig) {
		state := r.ramp()
		end := state.Until
		r.permits(r.say(&r.a, News{Want: 2}), 2, "the first slot")
		r.say(&r.a, News{Generation: state.Generation, Good: 2})
		r.before(end)
		sleepPast(end)
		state = r.say(&r.a, News{Want: 4})
		end = state.Until
		r.permits(state, 4, "the second slot")
		state = r.say(&r.a, News{Generation: state.Generation, Refused: 1, Status: 429})
		r.before(end)
		r.want(state, Paced, 0, "a refusal in a slot of four")
		if state.Rate != 20 {
			r.fatalf("%v per second, want 20", state.Rate)
		}
	}},
	{"a hint holds a paced key", func(r *storeRig) {
		state := r.paced()
		state = r.say(&r.b, News{Generation: state.Generation, Refused: 1, Hint: 3 * time.Second, Status: 429})
		r.want(state, Held, 1, "a hint of 3 s")
		if !state.Word {
			r.fatalf("3 s are the server's word: %+v", state)
		}
	}},
	{"a hint below 2 s holds nobody without the word", func(r *storeRig) {
		r.want(r.say(&r.a, News{Hint: hold.MinHold - ms, Status: 429}), Healthy, 0, "a short hint")
		r.want(r.say(&r.a, News{Hint: hold.MinHold, Status: 429}), Held, 0, "a hint of 2 s")
	}},
	{"a quota near its end is shared out over its time", func(r *storeRig) {
		r.want(r.say(&r.a, News{Left: 100, Refill: 10 * time.Second}), Healthy, 0, "a quota that is not near its end")
		state := r.say(&r.a, News{Left: 100, Refill: 10 * time.Second, Near: true})
		r.want(state, Rationed, 0, "a quota near its end")
		if left := time.Until(state.Until); state.Rate < 9.5 || state.Rate > 10.5 || left > 1100*time.Millisecond {
			r.fatalf("%v per second in slots of %v, want ten in a second", state.Rate, left)
		}
		a, b := r.say(&r.a, News{Want: 3}), r.say(&r.b, News{Want: 100})
		if a.Permits != 3 || b.Permits != 7 {
			r.fatalf("the slot grants %d and %d, want 3 and 7", a.Permits, b.Permits)
		}
		sleepPast(state.Until)
		state = r.say(&r.b, News{Want: 100})
		r.want(state, Rationed, 0, "the next share")
		r.permits(state, 10, "the next share")
	}},
	{"a quota that is used up holds the key until its refill", func(r *storeRig) {
		state := r.say(&r.a, News{Left: 10, Refill: 600 * time.Millisecond, Near: true})
		refill := time.Now().Add(600 * time.Millisecond)
		generation := state.Generation
		r.say(&r.a, News{Want: 1})
		r.say(&r.b, News{Generation: generation, Left: 0, Refill: 550 * time.Millisecond})
		r.permits(r.say(&r.b, News{Want: 5}), 0, "where nothing is left")
		sleepPast(state.Until)
		state = r.say(&r.a, News{Want: 1})
		if state.Phase == Held {
			if state.Until.Sub(refill).Abs() > 100*time.Millisecond || state.Word || state.Generation != generation+1 {
				r.fatalf("held for %v, and the refill is in %v: %+v", time.Until(state.Until), time.Until(refill), state)
			}
			sleepPast(state.Until)
			state = r.say(&r.a, News{Want: 5})
		}
		r.want(state, Probing, 0, "after the refill")
		r.permits(state, 1, "after the refill")
		// What was in flight is of the quota before.
		r.want(r.say(&r.b, News{Generation: generation, Bad: 1, Status: 500}), Probing, 0, "a late failure")
	}},
	{"numbers that lie end the ration", func(r *storeRig) {
		state := r.say(&r.a, News{Left: 100, Refill: 10 * time.Second, Near: true})
		r.want(r.say(&r.b, News{Generation: state.Generation, Lies: true}), Ramping, 0, "lies")
		r.key += "x"
		r.want(r.say(&r.b, News{Lies: true}), Healthy, 0, "lies of a healthy key")
	}},
	{"a refusal ends the ration", func(r *storeRig) {
		state := r.say(&r.a, News{Left: 100, Refill: 10 * time.Second, Near: true})
		r.say(&r.a, News{Want: 1})
		r.say(&r.a, News{Generation: state.Generation, Refused: 1, Status: 429})
		r.permits(r.say(&r.b, News{Want: 9}), 0, "after a refusal")
		r.before(state.Until)
		sleepPast(state.Until)
		held := r.say(&r.b, News{Want: 9})
		r.want(held, Held, 0, "after the slot")
		if left := time.Until(held.Until); left < 8*time.Second {
			r.fatalf("held for %v, and the refill is in 9 s", left)
		}
	}},
	{"late news of a quota change nothing", func(r *storeRig) {
		state := r.say(&r.a, News{Left: 100, Refill: 10 * time.Second, Near: true})
		r.say(&r.b, News{Generation: state.Generation, Left: 0, Refill: 2 * time.Second, Near: true}) // of the window before
		r.permits(r.say(&r.a, News{Want: 10}), 10, "after late news")
		r.before(state.Until)
	}},
	{"the window of a healthy key's quota is remembered", func(r *storeRig) {
		r.want(r.say(&r.a, News{Left: 100, Refill: 10 * time.Second}), Healthy, 0, "a quota")
		r.want(r.say(&r.b, News{Left: 4, Refill: 2 * time.Second, Near: true}), Healthy, 0, "the window before")
	}},
	{"who watches no longer is not told", func(r *storeRig) {
		told := make(chan State, 10)
		stop := r.b.Watch(r.key, func(s State) { told <- s })
		stop()
		stop()
		seen := make(chan State, 10)
		defer r.b.Watch(r.key, func(s State) { seen <- s })()
		r.hint(&r.a, time.Second)
		r.told(seen, Held)
		if len(told) > 0 {
			r.fatalf("told %+v after the end", <-told)
		}
	}},
	{"versions only grow", func(r *storeRig) {
		var mu sync.Mutex
		var versions []uint64
		defer r.b.Watch(r.key, func(s State) {
			mu.Lock()
			defer mu.Unlock()
			versions = append(versions, s.Version)
		})()
		last := uint64(0)
		step := func(s *Store, n News) State {
			state := r.say(s, n)
			if state.Version < last {
				r.fatalf("version %d after %d", state.Version, last)
			}
			last = state.Version
			return state
		}
		state := step(&r.a, News{Hint: 50 * time.Millisecond, Word: true, Status: 429})
		sleepPast(state.Until)
		for range 3 {
			state = step(&r.a, News{Want: 1})
			state = step(&r.a, News{Generation: state.Generation, Good: 1})
			sleepPast(state.Until)
			step(&r.a, News{})
			state = step(&r.a, News{Generation: state.Generation, Hint: 50 * time.Millisecond, Word: true})
			sleepPast(state.Until)
		}
		r.soon("b has heard of it all", func() bool {
			mu.Lock()
			defer mu.Unlock()
			if len(versions) == 0 {
				return false
			}
			// Each process counts the epochs that it has seen by itself.
			_, heard := splitVersion(versions[len(versions)-1])
			_, said := splitVersion(last)
			return heard == said
		})
		mu.Lock()
		defer mu.Unlock()
		for i := 1; i < len(versions); i++ {
			if versions[i] <= versions[i-1] {
				r.fatalf("version %d was told after %d", versions[i], versions[i-1])
			}
		}
	}},
}

// soon waits until what holds.
func (r *storeRig) soon(what string, holds func() bool) {
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.fatalf("not within ten seconds: %s", what)
		}
	}
}

// told waits until a phase is told.
func (r *storeRig) told(states chan State, phase Phase) State {
	timeout := time.After(10 * time.Second)
	for {
		select {
		case s := <-states:
			if s.Phase == phase {
				return s
			}
		case <-timeout:
			r.fatalf("%v was not told within ten seconds", phase)
		}
	}
}

// A RedisStore and a MemoryStore that are told the same go through the same
// states: exchange.lua is hold.go once more, and this holds them together.
func TestStoresAgreeOnRandomNews(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	a, b := Store(redisStore(t, srv.Client(), RedisOptions{})), Store(redisStore(t, srv.Client(), RedisOptions{}))
	sequences := 16
	if testing.Short() {
		sequences = 4
	}
	first := rand.Uint64()
	var wg sync.WaitGroup
	turn := make(chan struct{}, 16)
	for i := range sequences {
		seed := first + uint64(i)
		var want []string
		synctest.Test(t, func(t *testing.T) {
			s := Store(&MemoryStore{})
			r := &storeRig{t: t, a: s, b: s, key: "key"}
			want = r.randomWalk(seed)
		})
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			for try := range 10 {
				r := &storeRig{a: a, b: b, key: fmt.Sprint("key", seed, try), real: true}
				var got []string
				if err := r.run(func(r *storeRig) { got = r.randomWalk(seed) }); err != nil {
					if errors.Is(err, errSlow) {
						continue
					}
					t.Errorf("seed %d: %v", seed, err)
					return
				}
				for i := range want {
					if got[i] != want[i] {
						t.Errorf("seed %d, step %d:\nMemoryStore  %s\nRedisStore   %s\nafter\n%s", seed, i, want[i], got[i], strings.Join(want[:i], "\n"))
						return
					}
				}
				return
			}
			t.Logf("seed %d: %v", seed, errSlow)
		})
	}
	wg.Wait()
}

// randomWalk tells the store random news and returns what it says at each step.
func (r *storeRig) randomWalk(seed uint64) []string {
	random := rand.New(rand.NewPCG(seed, 0))
	var trace []string
	var state State
	var first uint64 // the generation of the first hold: they count from anywhere
	counted := false
	for range 24 {
		// All choices are made whatever the state is, so that they are the same
		// for both stores.
		s := &r.a
		if random.IntN(2) == 1 {
			s = &r.b
		}
		n := News{Lease: 10 * time.Second, Want: random.IntN(6)}
		stale := random.IntN(8) == 0
		n.Status = 500 + random.IntN(5)
		op := random.IntN(16)
		count := 1 + random.IntN(3)
		hint := time.Duration(1+random.IntN(4)) * 100 * time.Millisecond
		switch op {
		case 0:
			n.Hint, n.Word, n.Status = hint, true, 429
		case 1:
			n.Refused, n.RefusedRetries, n.Hint, n.Word = count, count-1, hint, true
		case 2:
			if !counted { // for a while after counting it means something else
				n.Refused, n.RefusedRetries = 1, count-1
			}
		case 3:
			n.Bad = count
		case 4, 5, 6, 7:
			n.Good, n.GoodRetries = count, count/2
		case 8:
			n.Good, n.Bad = count, 1
		case 9:
			n.Failures = 3 * count
		case 10:
			n.Well = random.IntN(2) == 0
		case 11:
			n.Returned = 1
		case 12, 13:
			if !counted { // it isn't counted again for a while, and no real time is exact
				n.Refusals = count
			}
		case 14:
			n.Left, n.Refill, n.Near = 4*count, time.Duration(count)*time.Second, n.Status > 501
		case 15:
			n.Lies = true
		}
		wait := random.IntN(2) == 0
		n.Generation = state.Generation
		if stale {
			n.Generation-- // wraps where there was no hold: that is stale as well
		}
		if wait && state.Phase != Healthy && time.Until(state.Until) < 3*time.Second {
			sleepPast(state.Until)
		}
		end := state.Until
		over := !time.Now().Before(end)
		state = r.say(s, n)
		if !over {
			r.before(end)
		}
		if first == 0 {
			first = state.Generation
		}
		counted = counted || state.Phase == Counted
		left := "over"
		switch d := time.Until(state.Until); {
		case state.Phase == Healthy:
			left = "-"
		case d > 5*time.Second:
			left = "a lease"
		case d > 0:
			left = "short"
		}
		generation := uint64(0)
		if state.Generation != 0 {
			generation = state.Generation - first + 1
		}
		// Word is left out: whether a short hint outlasts a hold of ours depends
		// on that hold's jitter.
		trace = append(trace, fmt.Sprintf("%v level %d attempts %d permits %d generation %d status %d %s  <- %s wait %t stale %t %+v",
			state.Phase, state.Level, state.Attempts, state.Permits, generation, state.Status, left,
			n.Replica, wait, stale, News{Good: n.Good, GoodRetries: n.GoodRetries, Bad: n.Bad, Refused: n.Refused, RefusedRetries: n.RefusedRetries, Returned: n.Returned, Failures: n.Failures,
				Status: n.Status, Hint: n.Hint, Word: n.Word, Well: n.Well, Want: n.Want, Refusals: n.Refusals, Left: n.Left, Refill: n.Refill, Near: n.Near, Lies: n.Lies}))
	}
	return trace
}
