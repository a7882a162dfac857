package admission

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
)

const (
	// storeTimeout bounds an exchange where the store itself does not.
	storeTimeout = 250 * time.Millisecond
	// maxUndecided is how long a decision may be due: ten times the time for which a
	// replica that died keeps the right to make it.
	maxUndecided = 500 * time.Millisecond
	// storeRetry is how long a gate continues alone before it tries the store again.
	storeRetry = time.Second
	// reportAfter is how many failures in a row a replica keeps to itself: one in
	// twenty requests that fails at random does not concern the fleet.
	reportAfter = 3
	// dueDelay is how long a replica at least waits for the decision of another before
	// it asks again: two round trips, as a rule.
	dueDelay = 5 * time.Millisecond
	// askSpread spreads the replicas that ask for permits when a hold ends.
	askSpread = 20 * time.Millisecond
	// goodDelay gathers the successes of a ramp before they are reported.
	goodDelay = hold.Slot / 4
	// rideDelay is how long a success of a pace waits for a report that asks for turns.
	// What a pace has to know soon are refusals; their share is of successes as old.
	rideDelay = 10 * time.Second
	// hintDelay gathers the hints that arrive while the key is held already.
	hintDelay = 2 * hold.Slot
	// idleSpread is how long a replica that has nothing to send waits before it
	// looks whether a ramp is over.
	idleSpread = time.Second
	// timeoutMemory is how long a request that could not wait is expected again.
	timeoutMemory = time.Second
	// maxWant bounds the permits that one replica asks for at a time.
	maxWant = 256
)

// Where there is a store, one of two decides what comes next for a gate's machine:
//
//	alone    Machine.Shared is false: this process
//	shared   the fleet: apply follows the state that the store has
//
// A hint is obeyed at once, alone, and reported; with the store's reply the hold is
// shared. A shared hold is this process's own again when a hint arrives that is not
// reported yet, when the store does not say what comes at T (onStoreError), and when
// it has lost the key (onRecordLost).
//
//	outcome                           this process          is reported as
//	hint of 2 s or more               holds at once         Hint, ServerDirected
//	success, of a permit              waits for the store   Good
//	failure or refusal, of a permit   waits for the store   Bad, Refused, Hint
//	third failure in a row, and on    counts to 20          Failures
//	success, while failures count     forgets them          Well
//	success of a probe, alone         goes on, alone        Well: it ends a hold that is over
//	success that a hold contradicts   waits for the store   Well
//	no answer                         counts to 20          nothing: it may be
//	                                                        this process's network

// session is what a gate needs beyond its machine to follow a store. The gate's mu
// guards it.
type session struct {
	// What is to be reported.

	report              hold.Report
	hint                time.Time // until when the server asked not to be sent to
	serverDirected      bool      // that hint holds every request
	quota               hold.Quota
	hasQuota            bool
	consecutiveFailures int       // failures in a row that the server answered
	retry               time.Time // before that, the store isn't tried again

	// What the store said.

	version   uint64    // of the state that is followed
	cleared   uint64    // the version of the last clear that was obeyed
	last      time.Time // when a replica last met a failure
	failing   bool      // failures of this healthy key are being counted
	exhausted bool      // there are no permits left until hold.until
	turns     hold.Turns
	finds     bool // the end of this round is found by this replica

	dueSince time.Time // since when a decision is due that no replica makes

	// The exchange under way, or the next.

	talking       bool        // an exchange is queued or under way
	timer         *time.Timer // calls for the next one, at the time of next
	next          time.Time
	noAskBefore   time.Time // before that, no permits of slots are asked for
	noProbeBefore time.Time // before that, no permits are asked for
	timedOut      int       // requests whose patience ended in the queue, since permits were asked for
	lastTimeout   time.Time // when the last of them left
}

// recordShared takes in what came of a send where there is a store: what it means
// for this process at once, and what is to be reported.
func (g *Gate) recordShared(o hold.Result, now time.Time) {
	h, s := &g.hold, &g.session
	word := (o.Hint >= hold.MinHold || o.ServerDirected) && !o.Meanwhile
	mine := o.Limited && h.Shared() && o.Generation == h.Generation()
	fresh := h.Phase() == hold.Healthy && o.Generation == h.Generation()
	if mine && s.report.Generation != o.Generation {
		s.report.Good, s.report.Bad, s.report.Refused, s.report.Returned = 0, 0, 0, 0
		s.report.Generation = o.Generation
	}
	if o.HasQuota && o.Generation == h.Generation() && (o.NearExhaustion || o.Inconsistent || h.Phase() != hold.Healthy) {
		s.quota, s.hasQuota = o.Quota, true
	}
	probed := !h.Shared() && h.Phase() == hold.Probing
	if !h.Shared() || (word && (o.Lesson == hold.Refused || o.Lesson == hold.Failed)) {
		h.Record(o, now, jitter.Uniform)
	}

	switch o.Lesson {
	case hold.Nothing:
		if mine && h.Phase() == hold.Probing && o.Round == h.Round() {
			s.report.Returned++
		}
		return
	case hold.Good:
		if mine {
			s.report.Good++
		}
		s.consecutiveFailures = 0
		s.report.Well = s.report.Well || s.failing || (probed && h.Phase() != hold.Probing)
		return
	case hold.Unreachable:
		if mine && !h.IsPaced() && h.Phase() != hold.Counted {
			// It may be this replica's own network. The permit is not given
			// back, and another replica goes first next time.
			s.noProbeBefore = now.Add(hold.MaxBackoff)
		}
		return
	}

	// The server answered that it refuses, or that it fails.
	if h.Phase() == hold.Held {
		s.report.Well = false
	}
	if word || mine {
		s.report.Status = o.Status
		if end := now.Add(o.Hint); end.After(s.hint) {
			s.hint = end
		}
		s.serverDirected = s.serverDirected || word
	}
	switch {
	case mine && o.Lesson == hold.Refused:
		s.report.Refused++
		if !h.IsPaced() {
			h.ForfeitPermits() // what is left of them would be refused as well
		}
	case mine && (h.Phase() == hold.Probing || !o.Retry):
		s.report.Bad++
	case fresh && o.Lesson == hold.Failed:
		s.consecutiveFailures++
		if s.consecutiveFailures >= reportAfter {
			s.report.Status = o.Status
			s.report.Failures++
			if s.consecutiveFailures == reportAfter {
				s.report.Failures = reportAfter
			}
		}
	}
}

// exchange reports to the store once, on a worker of the dispatcher.
func (g *Gate) exchange() {
	k := g.key
	k.mu.Lock()
	now := time.Now()
	report, hint, worth := g.takeReport(now)
	if !worth {
		g.session.talking = false
		k.mu.Unlock()
		return
	}
	cleared := g.session.cleared
	k.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	reply, err := Exchange(ctx, k.dispatcher.store, g.record, report)
	state := reply.Snapshot
	cancel()
	k.dispatcher.watch(k.text, err)

	k.mu.Lock()
	defer k.unlock()
	g.touch()
	s := &g.session
	s.talking = false
	switch {
	case err == hold.Behind:
		s.putBack(report, cleared)
	case err != nil:
		g.onStoreError(report)
	case s.undecided(reply.Due, time.Now()):
		g.onStoreError(hold.Report{}) // the store has the results, and no replica that can decide
	default:
		s.retry = time.Time{}
		if !s.hint.After(hint) {
			s.hint, s.serverDirected = time.Time{}, false // reported
		}
		current := g.apply(state, true)
		if report.ServerDirected && state.Phase == hold.Healthy && hint.After(now.Add(storeRetry)) {
			// Redis' clock went forward, and took the hint for an old one.
			s.hint, s.serverDirected, s.retry = hint, true, time.Now().Add(storeRetry)
		}
		if current {
			g.noteGrant(report, state, reply.Due)
		} else {
			s.noAskBefore = time.Now().Add(dueDelay) // a published round overtook this reply, and may have permits
		}
		g.release(time.Now())
		g.returnUnusedProbe()
	}
}

// noteGrant takes in how many permits of the present round the store granted, or which
// turns.
func (g *Gate) noteGrant(report hold.Report, state hold.Snapshot, due bool) {
	s, now := &g.session, time.Now()
	s.exhausted = state.Permits < report.Want
	switch {
	case g.inTurns():
		s.turns.Add(report.Want, state, now)
		// Of all replicas, one is to find the end of a slot, as a rule.
		s.finds = rand.Float64() < s.turns.Share(state.Until, now)
	case due:
		s.noAskBefore = now.Add(dueDelay + jitter.Uniform(askSpread)) // another replica decides, and publishes
	}
}

// undecided reports whether a decision has been due for so long that no replica can
// be there to make it: this one can't read the record, and those that can are gone.
func (s *session) undecided(due bool, now time.Time) bool {
	switch {
	case !due:
		s.dueSince = time.Time{}
	case s.dueSince.IsZero():
		s.dueSince = now
	}
	return due && now.Sub(s.dueSince) >= maxUndecided
}

// returnUnusedProbe returns a probe's permit for which no request waits any more, and
// none is likely to come.
func (g *Gate) returnUnusedProbe() {
	h := &g.hold
	if time.Since(g.session.lastTimeout) < timeoutMemory || !h.Shared() || h.Phase() != hold.Probing || h.PermitsLeft() <= 0 {
		return
	}
	h.ForfeitPermits()
	g.session.report.Generation = h.Generation()
	g.session.report.Returned++
}

// takeReport returns what is to be reported and asked for now.
func (g *Gate) takeReport(now time.Time) (report hold.Report, hint time.Time, worth bool) {
	s := &g.session
	_, worth = g.reportDue(now)
	_, want := g.permitsDue(now)
	report, hint = s.report, s.hint
	report.At = now
	report.Replica, report.Call, report.Version = g.key.dispatcher.replica, calls.Add(1), hold.Version
	report.Lease = g.lease()
	if hint.After(now) {
		report.Hint, report.ServerDirected = hint.Sub(now), s.serverDirected
	}
	if s.hasQuota {
		report.Remaining, report.ResetIn, report.Inconsistent = s.quota.Remaining, s.quota.ResetAt.Sub(now), s.quota.Inconsistent
		report.NearExhaustion = s.quota.NearExhaustion
		s.hasQuota = false
	}
	if want {
		report.Want = g.wanted(now)
		if g.inTurns() {
			report.Want, report.Patience = max(report.Want-s.turns.Len(), 0), g.patience(now)
		}
		s.timedOut = 0
	}
	s.report = hold.Report{Generation: s.report.Generation}
	return report, hint, worth || want
}
