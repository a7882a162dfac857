package storetest

import (
	"strings"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
)

// feed keeps what a watcher was told.
type feed struct {
	rig    *rig
	stop   func()
	mu     sync.Mutex
	states []state
}

// watch begins to watch the record of the rig through p's handle.
func (p *replica) watch() *feed { return p.watchRecord(p.rig.key) }

// watchRecord begins to watch the key of a record, and keeps what is told of the record.
func (p *replica) watchRecord(record string) *feed {
	key, own, _ := strings.Cut(record, " ")
	f := &feed{rig: p.rig}
	f.stop = p.store.Watch(key, func(scope string, s state) {
		if scope != own {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.states = append(f.states, s)
	})
	return f
}

func (f *feed) all() []state {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]state(nil), f.states...)
}

// until waits for a state that is told, now or later.
func (f *feed) until(what string, is func(state) bool) (found state) {
	f.rig.soon(what+" is told", func() bool {
		for _, s := range f.all() {
			if is(s) {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

func (f *feed) phase(p holdoff.Phase) state {
	return f.until(p.String(), func(s state) bool { return s.Phase == p })
}

// ofScope checks a rule with the record of a scope.
func ofScope(check func(*rig)) func(*rig) {
	return func(r *rig) {
		r.key += " /v1/search/* #01ab"
		check(r)
	}
}

func changesAreTold(r *rig) {
	feeds := []*feed{r.a.watch(), r.b.watch()}
	for _, f := range feeds {
		defer f.stop()
	}
	held := r.a.hint(20 * time.Second).Snapshot
	for _, f := range feeds {
		f.until("the hold", func(s state) bool {
			return s.Phase == holdoff.Held && s.Until.Sub(held.Until).Abs() < slack && s.ServerDirected
		})
	}
	longer := r.b.hint(25 * time.Second).Snapshot
	for _, f := range feeds {
		f.until("the longer hold", func(s state) bool {
			return s.Phase == holdoff.Held && s.Until.Sub(longer.Until).Abs() < slack && s.ServerDirected
		})
	}
	r.key += "x"
	feeds = []*feed{r.a.watch(), r.b.watch()}
	for i, phase := range []holdoff.Phase{holdoff.Probing, holdoff.Ramping, holdoff.Counted, holdoff.Paced, holdoff.Rationed, holdoff.Held, holdoff.Healthy} {
		got := r.commit(r.pick(i), 5*time.Second, decision{Phase: phase, Generation: uint64(7 + i), Permits: 3, Want: 1})
		r.rev++
		for _, f := range feeds {
			s := f.until(phase.String(), func(s state) bool { return s.Phase == phase && s.Generation == uint64(7+i) })
			if s.Permits != 0 || (phase != holdoff.Healthy && s.Until.Sub(got.Snapshot.Until).Abs() > slack) {
				r.fatalf("told %+v, want %+v without permits", s, got.Snapshot)
			}
		}
	}
	for _, f := range feeds {
		f.stop()
	}
}

func stopEnds(r *rig) {
	f, other := r.b.watch(), r.b.watch()
	f.stop()
	f.stop()
	defer other.stop()
	r.a.hint(20 * time.Second)
	other.phase(holdoff.Held)
	if told := f.all(); len(told) > 0 {
		r.fatalf("told %+v after stop", told)
	}
}

// What a replica learns of changes that others made.
var watchRules = []rule{
	{"a watcher of a key that is not healthy is told before Watch returns", func(r *rig) {
		held := r.a.hint(20 * time.Second).Snapshot
		for _, p := range []*replica{r.a, r.b} {
			var told []state
			r.soon("the hold is told before Watch returns", func() bool { // it may take a moment to come across
				f := p.watch()
				told = f.all()
				f.stop()
				return len(told) > 0
			})
			if s := told[0]; s.Phase != holdoff.Held || !s.ServerDirected || s.Attempts != 1 || s.Status != 429 || s.Permits != 0 || s.Until.Sub(held.Until).Abs() > slack {
				r.fatalf("told %+v, want %+v", s, held)
			}
		}
	}},
	{"a watcher of a healthy key is told nothing at first", func(r *rig) {
		f := r.a.watch()
		defer f.stop()
		if told := f.all(); len(told) > 0 {
			r.fatalf("told %+v", told)
		}
	}},
	{"a watcher is told of each change, whichever replica made it", changesAreTold},
	{"a watcher is told when failures of a healthy key begin to count, and when they are cleared", func(r *rig) {
		f := r.b.watch()
		defer f.stop()
		r.a.report(report{Failures: 3, Status: 503})
		f.until("a healthy key that fails", func(s state) bool { return s.Phase == holdoff.Healthy && s.Attempts == 3 && s.Status == 503 })
		r.a.report(report{Well: true})
		f.until("that it is well", func(s state) bool { return s.Phase == holdoff.Healthy && s.Attempts == 0 })
	}},
	{"a watcher that stopped is told no more, and others are", stopEnds},
	{"a watcher of a key is told of its scopes, each by its name, and of no other key's", func(r *rig) {
		own, route, longer := r.b.watch(), r.b.watchRecord(r.key+" /v1/search"), r.b.watchRecord(r.key+" /v1/search #01ab")
		defer own.stop()
		defer route.stop()
		defer longer.stop()
		r.a.hintOf(r.key+"x /v1/search", 20*time.Second) // a key that begins like this one
		r.a.hintOf(r.key+" /v1/search #01ab", 10*time.Second)
		longer.phase(holdoff.Held)
		if told := append(own.all(), route.all()...); len(told) > 0 {
			r.fatalf("told %+v of other scopes, or another key", told)
		}
		r.a.hintOf(r.key+" /v1/search", 20*time.Second)
		route.phase(holdoff.Held)
		r.a.hint(30 * time.Second)
		own.phase(holdoff.Held)
	}},
	{"a watcher of a key is told nothing of a key that begins like it, or that it begins like", func(r *rig) {
		f, others := r.b.watchRecord(r.key+" /v1"), []string{r.key + "x", r.key[:len(r.key)-1]}
		defer f.stop()
		for _, other := range others {
			r.a.hintOf(other+" /v1", 20*time.Second)
			own := r.b.watchRecord(other + " /v1")
			own.phase(holdoff.Held)
			own.stop()
		}
		if told := f.all(); len(told) > 0 {
			r.fatalf("told %+v of another key's scope", told)
		}
		r.a.hintOf(r.key+" /v1", 20*time.Second)
		f.phase(holdoff.Held)
	}},
	{"a watcher is told of each change of a scope, whichever replica made it", ofScope(changesAreTold)},
	{"a watcher that stopped is told of no scope, and others are", ofScope(stopEnds)},
	{"a watcher is told before Watch returns of scopes that are not healthy", func(r *rig) {
		r.a.hintOf(r.key+" /v1/search", 20*time.Second)
		for _, p := range []*replica{r.a, r.b} {
			r.soon("the hold of a scope is told before Watch returns", func() bool {
				f := p.watchRecord(r.key + " /v1/search")
				f.stop()
				return len(f.all()) == 1 && f.all()[0].Phase == holdoff.Held
			})
		}
	}},
	{"a watcher may call its store", func(r *rig) {
		done := make(chan struct{})
		var once sync.Once
		stop := r.b.store.Watch(r.key, func(string, state) {
			once.Do(func() {
				r.b.store.Watch(r.key, func(string, state) {})()
				close(done)
			})
		})
		defer stop()
		r.a.hint(20 * time.Second)
		select {
		case <-done:
		case <-time.After(patience):
			r.fatalf("a watcher that watches again does not return")
		}
	}},
	{"versions only grow, and replies have them as well", func(r *rig) {
		f := r.b.watch()
		defer f.stop()
		last := uint64(0)
		for i := range 6 {
			s := r.begin(5*time.Second, decision{Phase: []holdoff.Phase{holdoff.Ramping, holdoff.Paced}[i%2], Generation: uint64(7 + i), Permits: 3})
			if s.Version <= last {
				r.fatalf("version %d after %d", s.Version, last)
			}
			last = s.Version
		}
		f.until("the last round", func(s state) bool { return s.Generation == 12 })
		told := f.all()
		for i := 1; i < len(told); i++ {
			if told[i].Version <= told[i-1].Version {
				r.fatalf("version %d was told after %d", told[i].Version, told[i-1].Version)
			}
		}
		if now := r.b.report(report{}).Snapshot; now.Version < told[len(told)-1].Version {
			r.fatalf("version %d is replied, and %d was told", now.Version, told[len(told)-1].Version)
		}
	}},
}
