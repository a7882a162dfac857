package sim

import (
	"fmt"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// tick checks what has to happen within a time.
func (c *checker) tick() {
	s := c.sim
	sick := ""
	for key := range s.Keys {
		c.progress(key)
		for _, r := range s.replicas {
			if q := r.sessions[key]; !q.serves() {
				sick = fmt.Sprintf("replica %s key %d is %v until %v, shared %v, %d in line", r.name, key, q.m.Phase(), q.m.Until().Sub(s.now), q.m.Shared(), len(q.line))
			}
		}
	}
	if s.over() {
		since := s.now.Sub(s.start.Add(s.Over))
		switch {
		case sick == "" && since >= time.Second:
			c.done, c.result.Recovery = true, since
		case since > recoveryBound:
			c.fail("%v after the last fault %s", since, sick)
		}
	}
	s.after(checkInterval, c.tick)
}

// serves reports whether a key is healthy; or paced, at a rate that leaves no request
// in line for long. The machine leaves such a rate alone, if it is at least half used.
func (q *session) serves() bool {
	paced := q.m.IsPaced() && (len(q.line) == 0 || q.sim.now.Sub(q.line[0].since) < time.Second)
	return q.replica.up && (q.m.Phase() == hold.Healthy || paced)
}

// progress: where there is demand, a replica sends within a bound; a round that is over
// is followed by another within a bound; and holds that renew each other end.
func (c *checker) progress(key int) {
	s := c.sim
	now, g := s.now, &s.register
	rec := g.open(key)
	view := g.snapshot(rec)
	recEnd := view.Until.Add(-g.offset)
	held := rec.exists && view.Phase == hold.Held && recEnd.After(now)
	for _, r := range s.replicas {
		m := &r.sessions[key].m
		held = held || r.up && m.Phase() == hold.Held && m.Until().After(now)
	}
	if held {
		c.free[key] = now
	}
	for _, r := range s.replicas {
		q := r.sessions[key]
		if !r.up || (len(q.line) == 0 && now.Sub(q.missed) > missedFor) {
			q.truth.demand, q.truth.follows = time.Time{}, time.Time{}
			continue
		}
		if q.truth.demand.IsZero() {
			q.truth.demand = now
		}
		silence := now.Sub(latest(q.truth.demand, c.sentAt[key]))
		gap := min(silence, now.Sub(c.free[key]))
		c.result.Gap = max(c.result.Gap, gap)
		if gap > gapBound {
			c.fail("no replica has sent for %v, and replica %s has demand (%v, shared %v)", gap, r.name, q.m.Phase(), q.m.Shared())
		}
		if silence > 2*MaxHold+gapBound {
			c.fail("holds have kept all replicas silent for %v", silence)
		}
		if !q.m.Shared() || r.cut || g.down || r.version < rec.Memory.Version {
			q.truth.follows = time.Time{}
			continue
		}
		if q.truth.follows.IsZero() {
			q.truth.follows = now
		}
		if rec.exists && rec.Phase != hold.Healthy && !recEnd.After(now) {
			stuck := now.Sub(latest(q.truth.demand, q.truth.follows, c.decided[key], recEnd))
			c.result.Stuck = max(c.result.Stuck, stuck)
			if stuck > stuckBound {
				c.fail("no decision for %v after the end of revision %d (%v), and replica %s has demand", stuck, rec.Rev, rec.Phase, r.name)
			}
		}
	}
}

func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}
