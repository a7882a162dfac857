package holdoff

import (
	"context"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
)

const (
	// storeTimeout bounds an exchange where the store itself does not.
	storeTimeout = 250 * time.Millisecond
	// storeRetry is how long a gate goes on alone before it tries the store again.
	storeRetry = time.Second
	// reportAfter is how many failures in a row a replica keeps to itself. One
	// in twenty requests that fails at random is nobody else's business.
	reportAfter = 3
	// askSpread spreads the replicas that ask for permits when a hold ends.
	askSpread = 20 * time.Millisecond
	// goodDelay gathers the successes of a ramp before they are reported.
	goodDelay = hold.Slot / 4
	// hintDelay gathers the hints that come while the key is held anyway.
	hintDelay = 2 * hold.Slot
	// idleSpread is how long a replica that has nothing to send waits before it
	// looks whether a ramp is over.
	idleSpread = time.Second
	// mostDenied bounds how many slots a replica sits out: 2 to that power.
	mostDenied = 2
	// missedFor is how long a request that could not wait is expected again.
	missedFor = time.Second
	// maxWant bounds the permits that one replica asks for at a time.
	maxWant = 256
)

// Where there is a store, a gate's hold is in one of two hands:
//
//	alone    hold.shared is false: the process moves it on by itself
//	shared   the store moves it on: take adopts what it says
//
// A hint is obeyed at once, alone, and told; the store's answer makes the hold
// shared (take). A shared hold is the process's own again when a hint arrives
// that the store has yet to hear of (hold.begin), when the store fails to say what
// comes at T (alone), and when it has lost the key (lost).
//
//	outcome                           this process          the fleet is told
//	hint of 2 s or more               holds at once         Hint, Word
//	success, of a permit              waits for the store   Good
//	failure or refusal, of a permit   waits for the store   Bad, Refused, Hint
//	third failure in a row, and on    counts to 20          Failures
//	success, while failures count     forgets them          Well
//	no answer                         counts to 20          nothing: it may be
//	                                                        this process's network

// share is what a gate needs beyond its hold where there is a store. The gate's
// mu guards it.
type share struct {
	link *link
	stop func() // ends the watch

	// What is to be told.

	report   Report
	hint     time.Time // until when the server asked for silence
	word     bool      // that holds everybody
	quota    hold.Quota
	hasQuota bool
	row      int       // failures in a row that the server answered
	retry    time.Time // before that, the store isn't tried again

	// What was said.

	version uint64    // of the state that was last taken over
	last    time.Time // when anybody last met a failure
	failing bool      // failures of this healthy key are being counted
	dry     bool      // there are no permits left until hold.until

	// What goes on.

	talking bool        // an exchange is queued or under way
	timer   *time.Timer // calls for the next one, at the time of next
	next    time.Time
	denied  int       // how many slots in a row had nothing left
	served  time.Time // the end of the slot that last granted something
	out     time.Time // before that, no permits of slots are asked for
	abstain time.Time // before that, no permits are asked for
	turned  int       // requests whose patience ended in the line, since permits were asked for
	missed  time.Time // when the last of them left
}

// learnShared takes in an outcome where there is a store: what it means for
// this process at once, and what the fleet is to be told.
func (g *gate) learnShared(o hold.Result, now time.Time) {
	h, s := &g.hold, &g.share
	word := o.Hint >= hold.MinHold
	mine := o.Limited && h.Shared() && o.Generation == h.Generation()
	fresh := h.Phase() == Healthy && o.Generation == h.Generation()
	if mine && s.report.Generation != o.Generation {
		s.report.Good, s.report.Bad, s.report.Refused, s.report.Returned = 0, 0, 0, 0
		s.report.GoodRetries, s.report.RefusedRetries = 0, 0
		s.report.Generation = o.Generation
	}
	if o.HasQuota && o.Generation == h.Generation() && (o.NearExhaustion || o.Inconsistent || h.Phase() != Healthy) {
		s.quota, s.hasQuota = o.Quota, true
	}
	if !h.Shared() || (word && (o.Lesson == Refused || o.Lesson == Failed)) {
		h.Record(o, now, jitter.Uniform)
	}

	switch o.Lesson {
	case Nothing:
		if mine && h.Phase() == Probing && o.Round == h.Round() {
			s.report.Returned++
		}
		return
	case Good:
		if mine {
			s.report.Good++
			if o.Retry {
				s.report.GoodRetries++
			}
		}
		s.row = 0
		s.report.Well = s.failing
		return
	case Unreachable:
		if mine && !h.IsPaced() && h.Phase() != Counted {
			// It may be this replica's own network. The permit is not given
			// back, and another replica goes first next time.
			s.abstain = now.Add(hold.MaxBackoff)
		}
		return
	}

	// The server answered that it will not, or that it can't.
	if word || mine {
		s.report.Status = o.Status
		if end := now.Add(o.Hint); end.After(s.hint) {
			s.hint = end
		}
		s.word = s.word || word
	}
	switch {
	case mine && o.Lesson == Refused:
		s.report.Refused++
		if o.Retry {
			s.report.RefusedRetries++
		}
		if !h.IsPaced() {
			h.ForfeitPermits() // what is left of them would be refused as well
		}
	case mine && (h.Phase() == Probing || !o.Retry):
		s.report.Bad++
	case fresh && o.Lesson == Failed:
		s.row++
		if s.row >= reportAfter {
			s.report.Status = o.Status
			s.report.Failures++
			if s.row == reportAfter {
				s.report.Failures = reportAfter
			}
		}
	}
}

// exchange speaks with the store once: on a worker of the link.
func (g *gate) exchange() {
	g.mu.Lock()
	now := time.Now()
	report, hint, worth := g.takeReport(now)
	if !worth {
		g.share.talking = false
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	reply, err := exchange(ctx, g.share.link.store, g.key, report)
	state := reply.Snapshot
	cancel()
	g.share.link.watch(g.key, err)

	before := g.lock()
	s := &g.share
	s.talking = false
	if err != nil {
		g.alone(report)
	} else {
		s.retry = time.Time{}
		if !s.hint.After(hint) {
			s.hint, s.word = time.Time{}, false // told
		}
		g.take(state, true)
		if report.ServerDirected && state.Phase == Healthy && hint.After(now.Add(storeRetry)) {
			// Redis' clock went forward, and took the hint for an old one.
			s.hint, s.word, s.retry = hint, true, time.Now().Add(storeRetry)
		}
		s.dry = state.Permits < report.Want
		g.sitOut(state.Permits, report.Want)
		g.release(time.Now())
		g.handBackUnused()
	}
	g.unlock(before)
}

// sitOut lets a replica that was granted nothing wait for some slots, the more the
// oftener that happens: where many stand in line, to ask in each would be work for
// the store alone.
func (g *gate) sitOut(granted, want int) {
	h, s := &g.hold, &g.share
	if granted > 0 || !h.IsPaced() {
		s.denied, s.served = 0, h.Until()
		return
	}
	if want > 0 && h.Until().Sub(s.served) > hold.Rounding {
		s.denied = min(s.denied+1, mostDenied)
		s.out = h.Until().Add(jitter.Uniform(hold.Slot<<s.denied - hold.Slot))
	}
}

// handBackUnused gives a probe's permit back for which nobody waits any more,
// and nobody is likely to come.
func (g *gate) handBackUnused() {
	h := &g.hold
	if time.Since(g.share.missed) < missedFor || !h.Shared() || h.Phase() != Probing || h.PermitsLeft() <= 0 {
		return
	}
	h.ForfeitPermits()
	g.share.report.Generation = h.Generation()
	g.share.report.Returned++
}

// takeReport returns what is to be told and asked now.
func (g *gate) takeReport(now time.Time) (report Report, hint time.Time, worth bool) {
	s := &g.share
	_, worth = g.tell(now)
	_, want := g.ask(now)
	report, hint = s.report, s.hint
	report.Replica, report.Call, report.Version = s.link.replica, s.link.calls.Add(1), hold.Version
	report.Lease = g.lease()
	if hint.After(now) {
		report.Hint, report.ServerDirected = hint.Sub(now), s.word
	}
	if s.hasQuota {
		report.Remaining, report.ResetIn, report.Inconsistent = s.quota.Remaining, s.quota.ResetAt.Sub(now), s.quota.Inconsistent
		report.NearExhaustion = s.quota.NearExhaustion
		s.hasQuota = false
	}
	if want {
		report.Want = g.wanted(now)
		s.turned = 0
	}
	s.report = Report{Generation: s.report.Generation}
	return report, hint, worth || want
}
