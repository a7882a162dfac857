package sim

import (
	"fmt"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

const (
	checkInterval = 250 * time.Millisecond
	// gapBound is the longest time in which no replica sends, though one has a request
	// in line and no hold is in force. A probe that is lost costs its lease (1 s), and
	// the replica that lost it abstains (2 s); a store that is lost with it costs another
	// 2 s until it is tried again, twice where its answer is lost as well.
	gapBound = 10 * time.Second
	// stuckBound is the longest time in which no decision follows the end of a round,
	// though a replica that may decide follows the store and has a request in line: as
	// gapBound, and deciders that crash, and the second that a full read takes to notice
	// that the data are older ones.
	stuckBound = 15 * time.Second
	// recoveryBound is the longest time from the last fault until the fleet is healthy:
	// the longest hold; once more, where the register's clock was set back meanwhile; and
	// a minute for a rate of 0.1/s to grow to the demand.
	recoveryBound = 2*MaxHold + time.Minute
)

// checker checks the invariants.
type checker struct {
	sim     *Sim
	err     error
	done    bool
	result  Result
	rounds  []ledger
	lossAt  time.Time // when the register last lost data, or its clock went forward
	sentAt  [maxKeys]time.Time
	free    [maxKeys]time.Time // when a hold was last in force
	decided [maxKeys]time.Time // when a decision was last made
}

// ledger counts the permits of one round of the register.
type ledger struct{ permits, granted, sent int }

// truth is what a session's replica cannot know, or what it must not forget.
type truth struct {
	round   int       // whose permits the replica has
	hold    time.Time // until when it knows that the server is to be left alone
	learned time.Time // when it learned that
	// directed: its machine holds by the server's own word.
	directed bool
	// covered: a hold that the store told of seems to last as long, so that the hint was
	// not reported. The message may have been late by lateness, and the hold be shorter.
	covered bool
	store   time.Time // when the store's hold ends that was last adopted
	demand  time.Time // since when it has had a request in line
	follows time.Time // since when it could decide as well
}

func (c *checker) init(s *Sim) {
	c.sim = s
	c.rounds = []ledger{{}} // of a record about which nothing was decided
}

// fail notes the first invariant that does not hold.
func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("at %.3f s: %s", c.sim.now.Sub(c.sim.start).Seconds(), fmt.Sprintf(format, args...))
		c.sim.logf("FAILED: %v", c.err)
	}
}

func (c *checker) newRound(permits int) int {
	c.rounds = append(c.rounds, ledger{permits: permits})
	c.result.Rounds++
	return len(c.rounds) - 1
}

// granted: never more permits than the round has, and no turn twice.
func (c *checker) granted(rec *stored, before hold.Schedule, s hold.Snapshot) {
	n := s.Permits
	if s.Phase == hold.Paced || s.Phase == hold.Rationed {
		if first := before.Next.Time(); n > 0 && s.First.Before(first) {
			c.fail("revision %d (%v) hands out turns from %v before the next free one", rec.Rev, rec.Phase, first.Sub(s.First))
		}
		if taken := rec.Next.Time().Sub(s.First); n > 0 && taken < time.Duration(n)*(rec.Gap-time.Microsecond) {
			c.fail("revision %d (%v) hands out %d turns in %v, %v apart", rec.Rev, rec.Phase, n, taken, rec.Gap)
		}
		return
	}
	l := &c.rounds[rec.round]
	l.granted += n
	if n < 0 || l.granted > l.permits {
		c.fail("revision %d (%v) granted %d of %d permits", rec.Rev, rec.Phase, l.granted, l.permits)
	}
}

// committed: one decision per revision, made of that revision, by a replica that can
// read it, in time; and no hint is lost.
func (c *checker) committed(rec *stored, before hold.Record, d hold.Decision, version int) {
	now := c.sim.register.time()
	switch {
	case rec.Rev != before.Rev+1 || d.Rev != before.Rev:
		c.fail("a decision of revision %d was committed at %d, which became %d", d.Rev, before.Rev, rec.Rev)
	case version < before.Memory.Version:
		c.fail("a replica of version %d decided on a memory of version %d", version, before.Memory.Version)
	case now.Sub(d.At.Time()) > hold.MaxAge+time.Millisecond:
		c.fail("a decision was %v old", now.Sub(d.At.Time()))
	}
	// A success may end a hint that was reported with less than a moment left of it.
	short := before.HintUntil.Time().Sub(before.HintAt.Time()) < hold.Moment
	if s := rec.Snapshot(); before.HintUntil.Time().After(now) && !short && (s.Phase != hold.Held || s.Until.Before(before.HintUntil.Time())) {
		c.fail("revision %d (%v until %v) lost a hint until %v", rec.Rev, s.Phase, s.Until.Sub(now), before.HintUntil.Time().Sub(now))
	}
	if d.NewRound {
		rec.round = c.newRound(rec.Permits)
	} else {
		l := &c.rounds[rec.round]
		l.permits = max(l.permits, rec.Permits)
	}
	for key := range c.sim.Keys {
		if rec == &c.sim.register.records[key] {
			c.decided[key] = c.sim.now
		}
	}
	if c.sim.trace != nil {
		c.sim.logf("revision %d by %s: %v, %d permits for %v, generation %d, new %v, memory %+v", rec.Rev, d.Replica, rec.Phase, rec.Permits, rec.Until.Time().Sub(now), rec.Generation, d.NewRound, rec.Memory)
	}
}

// reported: a hint that was reported holds.
func (c *checker) reported(rec *stored, rep hold.Report, now time.Time) {
	if rep.Hint <= 0 || !rep.ServerDirected {
		return
	}
	s, until := rec.Snapshot(), now.Add(min(rep.Hint, MaxHold)-2*time.Millisecond)
	if s.Phase != hold.Held || s.Until.Before(until) {
		c.fail("a hint of %v was reported, and the key is %v for %v", rep.Hint, s.Phase, s.Until.Sub(now))
	}
}

// bounded: the record stays small, and no time in it is further away than it may be.
func (c *checker) bounded(rec *stored, now time.Time) {
	t := &rec.Totals
	for _, n := range [...]int{
		t.Good, t.Bad, t.Refused, t.Returned, t.Failures, t.Refusals, t.Hints, t.Remaining,
		rec.Permits, rec.Granted, rec.Attempts, rec.Status,
	} {
		if n < 0 || n > 1<<30 {
			c.fail("a number of the record is %d", n)
		}
	}
	latest := now.Add(MaxHold + 2*time.Millisecond)
	switch {
	case len(rec.Witnesses) > 8:
		c.fail("the record has %d witnesses", len(rec.Witnesses))
	case rec.Until.Time().After(latest) || rec.HintUntil.Time().After(latest):
		c.fail("the %v record ends in %v, its hint in %v", rec.Phase, rec.Until.Time().Sub(now), rec.HintUntil.Time().Sub(now))
	case rec.ClaimUntil.Time().Sub(now) > 51*time.Millisecond:
		c.fail("a claim lasts %v", rec.ClaimUntil.Time().Sub(now))
	}
}

func (c *checker) lostData() { c.lossAt = c.sim.now }

func (c *checker) restored(rec *stored) {
	rec.round = c.newRound(max(rec.Permits-rec.Granted, 0))
}

// sent: never more sends than permits in a round, and no hold is undercut.
func (c *checker) sent(q *session, p hold.Permit) {
	now := c.sim.now
	c.result.Sends++
	c.sentAt[q.key] = now
	if c.sim.trace != nil {
		c.sim.logf("replica %s key %d: sends, %v, shared %v", q.replica.name, q.key, q.m.Phase(), q.m.Shared())
	}
	// What a register costs that loses data, or whose clock goes forward, is bounded. A
	// replica knows of a step with its next poll: until then it takes hints for old ones.
	tolerance := hold.Rounding
	if q.truth.covered {
		tolerance += lateness
	}
	if !q.truth.learned.After(c.lossAt.Add(pollInterval + storeTimeout)) {
		tolerance += lateness
		if !q.truth.directed {
			tolerance = MaxHold // a longer hold of the store's own has taken its place, and was lost
		}
	}
	if early := q.truth.hold.Sub(now); early > tolerance {
		c.fail("replica %s sends %v before the end of a hold that it learned of %v ago", q.replica.name, early, now.Sub(q.truth.learned))
	}
	if p.Limited && q.m.Shared() && !q.m.Unlimited() && !q.m.IsPaced() {
		l := &c.rounds[q.truth.round]
		l.sent++
		if l.sent > l.permits {
			c.fail("replica %s sends %d of %d permits of a round (%v)", q.replica.name, l.sent, l.permits, q.m.Phase())
		}
	}
}

// session: a hold ends, and nobody sends more than the machine has permits for.
func (c *checker) session(q *session) {
	if q.m.Phase() == hold.Held && q.m.Until().Sub(c.sim.now) > MaxHold+10*time.Millisecond {
		c.fail("replica %s is held for %v", q.replica.name, q.m.Until().Sub(c.sim.now))
	}
	if !q.m.Unlimited() && q.m.PermitsLeft() < 0 {
		c.fail("replica %s has taken %d permits too many", q.replica.name, -q.m.PermitsLeft())
	}
}

// permits notes of which round the permits are that a replica was granted.
func (t *truth) permits(s *Sim, round, n int) {
	if n > 0 {
		t.round = round
	}
}

// result notes a hint that the server gave.
func (t *truth) result(q *session, o hold.Result) {
	if o.Hint >= hold.MinHold && (o.Lesson == hold.Refused || o.Lesson == hold.Failed) {
		t.know(q, q.sim.now.Add(o.Hint))
		t.covered = q.m.Shared() && t.covers(q.m.Until())
		t.directed = q.m.ServerDirected() // not where it is held for longer by the store's own
	}
}

// adopted notes a hold that the store told of, if the server had asked for it.
func (t *truth) adopted(q *session, state hold.Snapshot) {
	if state.Phase == hold.Held && !q.m.ServerDirected() {
		t.directed = false // until it learns of another hint
	}
	if state.Phase == hold.Held {
		t.store = state.Until.Add(-q.replica.mirror.lag)
		t.covered = t.covers(state.Until)
	}
	if state.Phase == hold.Held && state.ServerDirected && t.store.Sub(q.sim.now) >= hold.Moment {
		t.know(q, t.store)
	}
}

// covers reports whether a hold of the store seems to outlast the hint, and does not.
func (t *truth) covers(seems time.Time) bool {
	return !seems.Add(hold.Rounding).Before(t.hold) && t.store.Before(t.hold)
}

func (t *truth) know(q *session, until time.Time) {
	if until.After(t.hold) {
		t.hold, t.learned, t.directed, t.covered = until, q.sim.now, true, false
	}
}
