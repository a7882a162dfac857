package hold

import (
	"time"
)

const (
	// claimTime is how long one replica has the right to decide. When it dies, the
	// next decides after that.
	claimTime = 50 * time.Millisecond
	// MaxAge is how old the record may be that a decision was made for.
	MaxAge = 250 * time.Millisecond
	// maxWitnesses bounds the replicas that are remembered as witnesses.
	maxWitnesses = 8
)

// A Record is what a store keeps of one key. A store is a register: it adds
// reports up, hands out the permits of the round, and says when a decision is due.
// What a decision is, it does not know: see [Advance]. The zero value is a healthy
// key.
//
// Add and Commit are the register in Go, for stores that can hold a lock. A store
// that can't, does the same in its own language.
type Record struct {
	// The round is written by a decision, and by nothing else.

	Rev        uint64 // number of the decision
	Phase      Phase
	Generation uint64 // counts holds and measurements: results of an older one are late
	Began      Millis
	Until      Millis
	Permits    int
	Alarms     Alarms
	Memory     Memory
	Keep       Millis // until when Memory matters

	// What came since.

	Granted int // permits of the round, or turns from its begin on
	Schedule
	Totals Totals

	// What outlives rounds.

	HintUntil, HintAt Millis            // the longest hint, and since when there is one
	Witnesses         map[string]uint64 // replicas that reported Failures, each with its last Call
	Attempts, Status  int
	LastFailure       Millis
	DeniedAt          Millis // when permits were last wanting
	Claim             string // the replica that may decide
	ClaimUntil        Millis
}

// Alarms are what makes a decision due before the round ends: so many results
// since the decision. 0 is never.
type Alarms struct {
	Good, Bad, Refused, Returned int
	Failures, Witnesses          int  // so many failures of a healthy key, seen by so many replicas
	Refusals                     bool // any refusal of a healthy key, from RefusalsFrom on
	RefusalsFrom                 Millis
	Near                         bool // a quota that is nearly used up
	Spent                        bool // a quota that is used up, or was not one
}

// A Reply is what a store answers.
type Reply struct {
	// Snapshot is the state, with the permits that were granted. Its times are of
	// the replica's clock: a store whose clock is another one sends what is left.
	Snapshot Snapshot
	// Decide asks the replica to decide, by Advance and Commit, with Record. The
	// times of Record are of the register's clock: see Now.
	Decide bool
	Record Record
	// Due reports that another replica is deciding at this moment: ask again soon.
	Due bool
	// Changed reports to a store that keeps Records that its watchers must learn of the
	// new state. Replicas do not look at it.
	Changed bool
	// Now is the time of the register's clock, and MaxHold is the longest hold that
	// it keeps.
	Now     time.Time
	MaxHold time.Duration
}

// Add adds a report to the record. longest bounds holds.
func (r *Record) Add(rep Report, now time.Time, longest time.Duration) Reply {
	at := millis(now)
	before := r.view()
	r.rewind(at)
	r.limit(at, longest)
	if r.mine(rep) {
		r.Totals.addResults(rep)
	}
	r.addHealth(rep, at)
	r.Totals.addQuota(rep, at, longest)
	r.addHint(rep, at, longest)

	due := r.due(rep, at)
	decide := due && (at >= r.ClaimUntil || r.Claim == rep.Replica) && rep.Version >= r.Memory.Version
	if decide {
		r.Claim, r.ClaimUntil = rep.Replica, at+toMillis(claimTime)
		rep.Want = 0 // the decision grants
	}
	reply := r.grant(rep.Want, rep.Patience, now)
	reply.Decide, reply.Due = decide, due && !decide
	reply.Changed = r.view().differs(before)
	if decide {
		reply.Record, reply.MaxHold = r.clone(), longest
	}
	return reply
}

// mine reports whether a report is of permits of this generation. A record about
// which nothing was decided has none.
func (r *Record) mine(rep Report) bool { return r.Rev > 0 && rep.Generation == r.Generation }

// rewind keeps a round's length where the clock was set back: a hold grows by no
// more than the step, and never beyond its natural length.
func (r *Record) rewind(at Millis) {
	if step := r.Began - at; step > 0 {
		r.Began, r.Until = at, max(r.Until-step, 0)
		r.Next = max(r.Next-Micros(step)*1000, 0)
	}
	if step := r.HintAt - at; step > 0 && r.HintUntil > 0 {
		r.HintAt, r.HintUntil = at, max(r.HintUntil-step, 1)
	}
	r.ClaimUntil = min(r.ClaimUntil, at+toMillis(claimTime))
	r.DeniedAt, r.LastFailure = min(r.DeniedAt, at), min(r.LastFailure, at)
}

// limit bounds times in the future, whatever wrote them, and however far the clock was set
// back.
func (r *Record) limit(at Millis, longest time.Duration) {
	latest := at + toMillis(longest)
	r.Until, r.HintUntil, r.Keep = min(r.Until, latest), min(r.HintUntil, latest), min(r.Keep, latest)
	r.Next = min(r.Next, r.furthest(at))
	r.Alarms.RefusalsFrom, r.Totals.RetryAt = min(r.Alarms.RefusalsFrom, latest), min(r.Totals.RetryAt, latest)
	if r.Totals.ResetAt > latest {
		r.Totals.Remaining, r.Totals.ResetAt, r.Totals.NearExhaustion = 0, 0, false
	}
}

// addHealth adds what was met while the key was healthy, and counts failures for
// people.
func (r *Record) addHealth(rep Report, at Millis) {
	mine := r.mine(rep)
	healthy := r.Phase == Healthy && r.HintUntil == 0
	if healthy && (rep.Well || (mine && rep.Good > 0)) {
		r.Totals.Failures, r.Totals.Hints, r.Totals.Bad, r.Totals.Refused = 0, 0, 0, 0
		r.Attempts, r.Status, r.Witnesses = 0, 0, nil
	}
	failed := 0
	if mine {
		failed = within(rep.Bad, MaxReported) + within(rep.Refused, MaxReported)
	}
	if healthy && rep.Failures > 0 && r.witness(rep) {
		r.Totals.Failures = plus(r.Totals.Failures, rep.Failures)
		failed += within(rep.Failures, MaxReported)
	}
	if healthy && at >= r.Alarms.RefusalsFrom { // earlier ones are no news later
		r.Totals.Refusals = plus(r.Totals.Refusals, rep.Refusals)
	}
	if failed == 0 && rep.Hint > 0 {
		r.Totals.Hints = plus(r.Totals.Hints, 1)
		failed = 1
	}
	if failed > 0 {
		r.Attempts, r.Status, r.LastFailure = min(r.Attempts+failed, maxCount), rep.Status, at
	}
}

// witness notes that a replica reported failures, and returns false where this
// very report was added before.
func (r *Record) witness(rep Report) bool {
	last, known := r.Witnesses[rep.Replica]
	switch {
	case known && last >= rep.Call:
		return false
	case !known && len(r.Witnesses) >= maxWitnesses:
		return true
	case r.Witnesses == nil:
		r.Witnesses = make(map[string]uint64)
	}
	r.Witnesses[rep.Replica] = rep.Call
	return true
}

// addHint raises the hint. It is a maximum, so that a report which arrives twice
// changes nothing.
func (r *Record) addHint(rep Report, at Millis, longest time.Duration) {
	if rep.Hint <= 0 {
		return
	}
	until := at + toMillis(min(rep.Hint, longest))
	if !rep.ServerDirected {
		r.Totals.RetryAt = max(r.Totals.RetryAt, until)
		return
	}
	if until <= r.HintUntil {
		return
	}
	if r.HintUntil == 0 {
		r.HintAt = at
	}
	r.HintUntil = until
}

// grant hands out permits of the round, or turns of the schedule: the reply has them.
// After the round, a decision is due, and nothing is denied.
func (r *Record) grant(want int, patience time.Duration, now time.Time) Reply {
	at, paced := millis(now), r.Phase == Paced || r.Phase == Rationed
	reply := Reply{Snapshot: r.Snapshot(), Now: now}
	s := &reply.Snapshot
	want = within(want, MaxReported)
	switch {
	case r.Phase == Healthy || r.Phase == Counted || r.HintUntil > 0:
		return reply
	case paced:
		var first Micros
		most := MaxPermits
		if r.Phase == Rationed {
			most = max(r.Permits-r.Granted, 0) // no more than what remains of the quota
		}
		s.Permits, first = r.take(want, most, patience, micros(now))
		s.First = first.Time()
	case at >= r.Until:
		return reply
	default:
		s.Permits = max(min(want, r.Permits-r.Granted), 0)
	}
	r.Granted = min(r.Granted+s.Permits, maxCount)
	if s.Permits < want {
		r.DeniedAt = at
	}
	return reply
}

// due reports whether a decision is due.
func (r *Record) due(rep Report, at Millis) bool {
	onDemand := r.Phase == Held || r.Phase == Probing
	a, t := r.Alarms, &r.Totals
	if r.Rev == 0 {
		a = FirstAlarms()
	}
	switch {
	case r.HintUntil > 0:
		return (rep.Want > 0 || rep.Well) && at >= max(r.HintUntil, r.heldUntil()) || r.disproved(rep, at)
	case r.Phase != Healthy && at >= r.Until:
		return rep.Want > 0 || rep.Well || !onDemand
	case reached(t.Failures, a.Failures) && len(r.Witnesses) >= a.Witnesses, t.Refusals > 0 && a.Refusals && at >= a.RefusalsFrom:
		return true
	case t.NearExhaustion && a.Near:
		return true
	case a.Spent && (t.Inconsistent || t.ResetAt > 0 && t.Remaining == 0):
		return true
	}
	return reached(t.Good, a.Good) || reached(t.Bad, a.Bad) || reached(t.Refused, a.Refused) || reached(t.Returned, a.Returned)
}

// disproved reports whether a success contradicts a hold of a moment, which is an
// assumption of a replica that did not know of the success.
func (r *Record) disproved(rep Report, at Millis) bool {
	return rep.Well && r.Phase == Healthy && r.HintUntil > at && r.HintUntil-r.HintAt < toMillis(Moment)
}

func reached(n, alarm int) bool { return alarm > 0 && n >= alarm }

func (r *Record) view() view {
	v := view{phase: r.Phase, until: r.Until, directed: r.Memory.ServerDirected && r.Phase == Held, failing: r.Attempts > 0}
	if r.HintUntil > r.heldUntil() {
		v.phase, v.until, v.directed = Held, r.HintUntil, true
	}
	return v
}

// toMillis rounds up: a hint is never undercut.
func toMillis(d time.Duration) Millis {
	return Millis((d + time.Millisecond - 1) / time.Millisecond)
}
