package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
)

type (
	report   = holdoff.Report
	reply    = holdoff.Reply
	decision = holdoff.Decision
	state    = holdoff.State
)

const (
	ms = time.Millisecond
	// slack is by how much a time may miss what a rule says: it crosses a network, and
	// the clocks on both sides are read in milliseconds.
	slack = 100 * ms
	// patience bounds the wait for a change that another replica has to learn of.
	patience = 10 * time.Second
)

// errNotNow is why a rule could not be checked.
var errNotNow = errors.New("the machine was too slow for this rule, or the store failed")

// A violation is a rule that was broken, as a rule throws it. It is a panic, since
// rules are told in one go, over many calls, each of which may be the one that fails.
type violation struct{ error }

// rig is what a rule is checked with: two replicas, each with a handle of its own,
// and a key that no other rule uses.
type rig struct {
	a, b *replica
	key  string
	rev  uint64 // of the round that begin began
}

// replica reports through one handle.
type replica struct {
	rig   *rig
	store holdoff.Store
	name  string
	calls atomic.Uint64
}

func (r *rig) fatalf(format string, args ...any) { panic(violation{fmt.Errorf(format, args...)}) }

// notNow gives the rule up for now.
func (r *rig) notNow(err error) { panic(violation{fmt.Errorf("%w: %w", errNotNow, err)}) }

// before gives the rule up for now where the clock has got too close to end: what
// was done since may belong to the next round, or took too long to tell when it began.
func (r *rig) before(end time.Time) {
	if left := time.Until(end); left < 10*ms {
		r.notNow(fmt.Errorf("%v are left of a round", left))
	}
}

// send reports r as it is.
func (p *replica) send(r report) reply {
	got, err := p.store.Report(context.Background(), p.rig.key, r)
	if err != nil {
		p.rig.notNow(fmt.Errorf("the report failed: %w", err))
	}
	return got
}

// report reports r, under the replica's own name if r has none.
func (p *replica) report(r report) reply { return p.send(p.filled(r)) }

// filled returns r with what a replica says of itself.
func (p *replica) filled(r report) report {
	if r.Replica == "" {
		r.Replica = p.name
	}
	if r.Call == 0 {
		r.Call = p.calls.Add(1)
	}
	if r.Version == 0 {
		r.Version = hold.Version
	}
	if r.Lease == 0 {
		r.Lease = time.Second // a longer one tells of a slow host
	}
	return r
}

func (p *replica) commit(d decision) reply {
	got, err := p.store.Commit(context.Background(), p.rig.key, d)
	if err != nil {
		p.rig.notNow(fmt.Errorf("the commit failed: %w", err))
	}
	return got
}

// exchange reports r, and decides as the machine does where that is due.
func (p *replica) exchange(r report) state {
	r = p.filled(r)
	got := p.send(r)
	if !got.Decide {
		return got.Snapshot
	}
	got = p.commit(hold.Advance(got.Record, r, got.Now, got.MaxHold, jitter.Uniform))
	if got.Due {
		p.rig.notNow(errors.New("the decision came too late"))
	}
	return got.Snapshot
}

// hint holds the key because the server said so.
func (p *replica) hint(d time.Duration) reply {
	return p.report(report{Hint: d, ServerDirected: true, Status: 429})
}

// hintOf holds a record of the rig's key, or of another one.
func (p *replica) hintOf(record string, d time.Duration) {
	if _, err := p.store.Report(context.Background(), record, p.filled(report{Hint: d, ServerDirected: true, Status: 429})); err != nil {
		p.rig.notNow(fmt.Errorf("the report failed: %w", err))
	}
}

// begin starts a round by hand, that lasts for length. What the machine would
// decide is not the store's business.
func (r *rig) begin(length time.Duration, d decision) state {
	got := r.commit(r.a, length, d)
	if got.Snapshot.Phase != d.Phase || got.Snapshot.Generation != d.Generation {
		r.fatalf("a commit of %v of generation %d at revision %d starts %+v", d.Phase, d.Generation, d.Rev, got.Snapshot)
	}
	r.rev++
	return got.Snapshot
}

// commit commits a round of the present revision by hand.
func (r *rig) commit(p *replica, length time.Duration, d decision) reply {
	d.Rev, d.NewRound, d.Changed, d.Replica = r.rev, true, true, p.name
	return p.commit(r.dated(length, d))
}

// dated gives d the times of the store's clock.
func (r *rig) dated(length time.Duration, d decision) decision {
	now := r.a.report(report{}).Now
	d.At, d.MaxAge = hold.Millis(now.UnixMilli()), hold.MaxAge
	d.Until, d.Keep = hold.Millis(now.Add(length).UnixMilli()), hold.Millis(now.Add(time.Minute).UnixMilli())
	d.Memory.Version = max(d.Memory.Version, hold.Version)
	return d
}

// slot is a round of a ramp, of which no result is an alarm until it ends.
func slot(generation uint64, permits int) decision {
	return decision{Phase: holdoff.Ramping, Generation: generation, Permits: permits}
}

// alarmed is a round whose first returned permit makes a decision due.
func alarmed(generation uint64) decision {
	d := slot(generation, 4)
	d.Alarms = hold.Alarms{Returned: 1}
	return d
}

// record raises the alarm of a round, and returns the record that p is to decide on.
func (r *rig) record(p *replica, generation uint64) holdoff.Record {
	got := p.report(report{Generation: generation, Returned: 1})
	if !got.Decide {
		r.fatalf("a decision is due at the first returned permit, and %s is not to decide: %+v", p.name, got)
	}
	return got.Record
}

func (r *rig) want(s state, phase holdoff.Phase, level int, what string) {
	if s.Phase != phase || s.Level != level {
		r.fatalf("%s: %v at level %d, want %v at level %d: %+v", what, s.Phase, s.Level, phase, level, s)
	}
}

func (r *rig) permits(s state, n int, what string) {
	if s.Permits != n {
		r.fatalf("%s: %d permits, want %d: %+v", what, s.Permits, n, s)
	}
}

// ends checks that a hold or a round ends at the time that it should.
func (r *rig) ends(s state, at time.Time, what string) {
	if d := s.Until.Sub(at); d.Abs() > slack {
		r.fatalf("%s: it ends %v after it should: %+v", what, d, s)
	}
}

func (r *rig) equal(got, want any, what string) {
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		r.fatalf("%s:\ngot  %s\nwant %s", what, g, w)
	}
}

// sleepPast sleeps until t is over, by the store's clock as well.
func sleepPast(t time.Time) { time.Sleep(time.Until(t) + 5*ms) }

// soon waits until a condition holds.
func (r *rig) soon(what string, holds func() bool) {
	for end := time.Now().Add(patience); !holds(); time.Sleep(ms) {
		if time.Now().After(end) {
			r.fatalf("not within %v: %s", patience, what)
		}
	}
}

// together runs do n times at once, and throws what one of them has thrown.
func (r *rig) together(n int, do func(i int)) {
	broken := make(chan violation, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			defer func() {
				if x := recover(); x != nil {
					v, ok := x.(violation)
					if !ok {
						panic(x)
					}
					broken <- v
				}
			}()
			do(i)
		})
	}
	wg.Wait()
	select {
	case v := <-broken:
		panic(v)
	default:
	}
}

// pick returns one of the two replicas in turn.
func (r *rig) pick(i int) *replica {
	if i%2 == 0 {
		return r.a
	}
	return r.b
}

// near reports whether a rate is within a twentieth of want.
func near(rate, want float64) bool { return math.Abs(rate-want) <= want/20 }
