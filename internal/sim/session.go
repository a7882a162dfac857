package sim

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// session is what a process knows of one key: a gate and its session, in
// internal/admission. All of its rules are those of the function that a method is named for, in
// the same order, without locks, timers and workers.
type session struct {
	replica *replica
	sim     *Sim
	key     int
	life    int

	m    hold.Machine
	line []*waiter
	tick time.Time // when the timer for the next T fires; zero where none is set

	report    hold.Report
	hint      time.Time // until when the server asked for silence, and the store is to be told
	word      bool
	quota     hold.Quota
	hasQuota  bool
	row       int
	retry     time.Time // before that, the store isn't tried again
	tolerance float64   // refusals that were met, less a tenth of the successes

	version uint64
	failing bool
	dry     bool
	turns   hold.Turns
	paced   time.Time
	finds   bool

	talking bool
	next    time.Time
	out     time.Time
	abstain time.Time
	turned  int
	missed  time.Time

	truth truth
}

// waiter is a request in line.
type waiter struct {
	request
	since, latest time.Time
}

func (q *session) lives() bool { return q.replica.up && q.life == q.replica.life }

func (q *session) open() bool { return q.m.IsHealthy() && !q.failing }

// arrive is open and join.
func (q *session) arrive(req request) {
	now := q.sim.now
	if q.open() {
		q.send(req, hold.Permit{Generation: q.m.Generation()})
		return
	}
	before := q.m
	w := &waiter{req, now, now.Add(req.patience)}
	if len(q.line) == 0 {
		if p, ok := q.grant(); ok {
			q.send(req, p)
			q.unlock(before)
			return
		}
	}
	if at, known := q.turnOf(q.before(w.latest) + 1); !q.hopeless(w) && !(known && float64(w.latest.Sub(now)) < 0.75*float64(at.Sub(now))) {
		q.line = append(q.line, w)
		q.sim.after(req.patience, func() { q.leave(w) })
	}
	q.unlock(before)
}

// leave is that of a request whose patience is over.
func (q *session) leave(w *waiter) {
	if !q.lives() {
		return
	}
	for i, other := range q.line {
		if other == w {
			before := q.m
			q.turned++
			q.missed = q.sim.now
			q.line = append(q.line[:i:i], q.line[i+1:]...)
			q.unlock(before)
			return
		}
	}
}

func (q *session) hopeless(w *waiter) bool {
	return q.m.Phase() == hold.Held && !w.latest.After(q.m.Until())
}

func (q *session) lease() time.Duration { return hold.Lease(q.sim.Latency) }

func (q *session) grant() (hold.Permit, bool) {
	if q.inTurns() {
		return q.m.Turn(), q.turns.Take(q.sim.now)
	}
	return q.m.Grant(q.sim.now, q.lease(), q.sim.jitter)
}

// unlock does what a change of the machine calls for.
func (q *session) unlock(before hold.Machine) {
	now := q.sim.now
	if q.m.Shared() && !now.Before(q.m.Until()) && now.Before(q.retry) && !q.sim.rules.Deaf {
		q.alone(hold.Report{}) // orphaned
	}
	if q.m.IsPaced() && !before.IsPaced() {
		q.paced = now
	}
	q.release(before)
	q.refuseLate()
	q.setTimer()
	q.schedule()
	if q.sim.trace != nil && (before.Phase() != q.m.Phase() || before.Shared() != q.m.Shared()) {
		q.sim.logf("replica %s key %d: %v -> %v until %.3f, %d permits, generation %d, shared %v", q.replica.name, q.key,
			before.Phase(), q.m.Phase(), q.m.Until().Sub(q.sim.start).Seconds(), q.m.PermitsLeft(), q.m.Generation(), q.m.Shared())
	}
	q.sim.check.session(q)
}

// release lets requests go: as many as there are permits, the oldest first.
func (q *session) release(before hold.Machine) {
	for len(q.line) > 0 {
		p, ok := q.grant()
		if !ok {
			break
		}
		i := 0
		switch {
		case q.m.Phase() == hold.Probing:
			i = q.prober()
		case q.m.IsPaced():
			i = q.soonest()
		}
		w := q.line[i]
		q.line = append(q.line[:i:i], q.line[i+1:]...)
		q.send(w.request, p)
	}
	if q.m.Phase() != hold.Held || q.m.Until().Equal(before.Until()) {
		return
	}
	kept := q.line[:0:0]
	for _, w := range q.line {
		if !q.hopeless(w) {
			kept = append(kept, w)
		}
	}
	q.line = kept
}

func (q *session) soonest() (soonest int) {
	for i, w := range q.line {
		if w.latest.Before(q.line[soonest].latest) {
			soonest = i
		}
	}
	return soonest
}

func (q *session) prober() int {
	for i, w := range q.line {
		if w.failed == 0 {
			return i
		}
	}
	return 0
}

// inTurns, turnOf, patience and refuseLate are those of internal/admission/turns.go.
func (q *session) inTurns() bool { return q.m.Shared() && q.m.IsPaced() }

func (q *session) turnOf(n int) (at time.Time, known bool) {
	switch {
	case q.sim.now.Sub(q.paced) < 2*time.Second:
	case q.inTurns():
		return q.turns.At(n, q.sim.now)
	case q.m.IsPaced() && q.m.Rate() > 0:
		return q.m.NextSendAt().Add(time.Duration(float64(n-1) / q.m.Rate() * float64(time.Second))), true
	}
	return time.Time{}, false
}

// latest is the request that will wait longest.
func (q *session) latest() (latest int) {
	for i, w := range q.line {
		if !w.latest.Before(q.line[latest].latest) {
			latest = i
		}
	}
	return latest
}

func (q *session) patience() time.Duration {
	if len(q.line) == 0 {
		return 0
	}
	return q.line[q.latest()].latest.Sub(q.sim.now)
}

func (q *session) refuseLate() {
	if !q.m.IsPaced() {
		return
	}
	for len(q.line) > 0 {
		i := q.latest()
		if at, known := q.turnOf(len(q.line)); !known || float64(q.line[i].latest.Sub(q.sim.now)) >= 0.75*float64(at.Sub(q.sim.now)) {
			return
		}
		q.line = append(q.line[:i:i], q.line[i+1:]...)
	}
}

// before is the number of requests that have less patience.
func (q *session) before(then time.Time) (n int) {
	for _, w := range q.line {
		if w.latest.Unix() < then.Unix() {
			n++
		}
	}
	return n
}

// setTimer arranges for a look at the next T.
func (q *session) setTimer() {
	now := q.sim.now
	idle := len(q.line) == 0 && !q.m.HasDeadline()
	asked := q.m.Shared() && !now.Before(q.m.Until())
	at := q.m.Until()
	if len(q.line) > 0 && q.inTurns() {
		if turn, ok := q.turns.Next(); ok {
			at, asked = turn, false
		}
	}
	if q.m.Phase() == hold.Healthy || idle || asked {
		q.tick = time.Time{}
		return
	}
	if q.m.IsPaced() && len(q.line) > 0 && !q.m.Shared() {
		at = q.m.NextSendAt()
	}
	if at.Before(now) {
		at = now
	}
	if at.Equal(q.tick) {
		return
	}
	q.tick = at
	q.sim.after(at.Sub(now), func() {
		if q.lives() && q.tick.Equal(at) {
			q.tick = time.Time{}
			before := q.m
			q.m.Advance(at, q.sim.jitter)
			q.unlock(before)
		}
	})
}
