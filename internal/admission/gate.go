package admission

import (
	"math/rand/v2"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// A Gate is what a process knows of one scope of a key: its machine, and the requests
// that wait for it. The key's mu guards it.
type Gate struct {
	key    *Key
	scope  scope.Scope
	record string    // the name of its record in a store
	alone  bool      // it has no record
	opened uint64    // the epoch in which trouble of the scope was met
	since  time.Time // since when the scope is not healthy

	hold    hold.Machine
	shown   hold.Mark // as it was when the key was last unlocked
	waiters queue
	timer   *time.Timer
	bad     time.Time // when this process last met a failure
	paced   time.Time // since when the scope is paced
	session session
	marked  bool // it is among the key's changed
	dropped bool // the key has forgotten it
}

// touch notes that the gate may have changed since the key was locked.
func (g *Gate) touch() {
	if !g.marked {
		g.marked = true
		g.key.changed = append(g.key.changed, g)
	}
}

// troubled reports whether requests of the scope have to look at the gate.
func (g *Gate) troubled() bool { return g != nil && (!g.hold.IsHealthy() || g.session.failing) }

// shared reports whether the scope has a record in a store.
func (g *Gate) shared() bool { return g.key.dispatcher != nil && !g.alone }

// settle does what a change of the machine calls for: it releases waiters, sets the
// timer for the next T, and schedules a report to the store.
func (g *Gate) settle(now time.Time) {
	if g.dropped {
		return
	}
	if g.storeOverdue(now) {
		g.onStoreError(hold.Report{})
	}
	if g.shown.Phase == hold.Healthy {
		g.since = now
	}
	if g.absorbs() {
		g.key.absorb(g, now)
	}
	if g.servedSince() {
		g.key.served(g, now)
	}
	if g.hold.Phase() == hold.Paced && g.shown.Phase != hold.Paced && g.scope != (scope.Scope{}) {
		g.key.joinPaced(g, now)
	}
	if g.hold.IsPaced() && !isPaced(g.shown.Phase) {
		g.paced = now
	}
	g.release(now)
	g.refuseLate(now)
	g.setTimer(now)
	g.schedule(now)
	if event, worth := g.compare(g.shown, now); worth && !g.alone {
		g.key.events = append(g.key.events, event)
	}
	g.shown = g.hold.Mark()
}

// absorbs reports whether the trouble of narrower scopes has just become that of g: it is
// held, or the fleet measures what they have in common.
func (g *Gate) absorbs() bool {
	phase, was := g.hold.Phase(), g.shown.Phase
	switch {
	case phase == was || g.alone:
		return false
	case phase == hold.Counted || phase == hold.Paced:
		return was == hold.Healthy && g.shared()
	}
	return phase == hold.Held
}

// take lets the machine, and what is to be reported, take in what came of a send.
func (g *Gate) take(o hold.Result, now time.Time) {
	g.touch()
	h := &g.hold
	if o.Lesson != hold.Good && o.Lesson != hold.Nothing {
		g.bad = now
	}
	if h.Phase() == hold.Counted {
		o.Limited, o.Generation = true, h.Generation() // every result is counted, whenever the request was sent
	}
	mine := o.Limited && o.Generation == h.Generation()
	if g.alone {
		g.takeTrial(o, mine, now)
		return
	}
	switch {
	case mine && h.Phase() == hold.Probing && o.Lesson == hold.Nothing && o.Hint > 0:
		o.Lesson = hold.Refused // a probe that is asked to come back later has not found the server up
	case mine && g.serving() && o.Hint >= hold.MinHold && (o.Lesson == hold.Refused || o.Lesson == hold.Failed):
		// Others of this scope are served meanwhile: the server asks for less, and
		// not for silence. The request that got the hint obeys it by itself.
		o.Lesson, o.Meanwhile = hold.Refused, true
	}
	if g.shared() {
		g.recordShared(o, now)
	} else {
		h.Record(o, now, jitter.Uniform)
	}
}

// takeTrial takes in what came of a request from outside the known limits. A success
// ends the trial elsewhere; anything that the server answered calls for another one.
func (g *Gate) takeTrial(o hold.Result, mine bool, now time.Time) {
	switch {
	case !mine:
	case o.Lesson == hold.Nothing, o.Lesson == hold.Unreachable:
		o.Lesson, o.Hint = hold.Nothing, 0
		g.hold.Record(o, now, jitter.Uniform)
	default:
		g.hold.StartTrial(now, trialTime)
	}
}

// serving reports whether requests of the scope are sent and answered well, although
// not all of them.
func (g *Gate) serving() bool {
	switch g.hold.Phase() {
	case hold.Ramping, hold.Counted, hold.Paced:
		return true
	}
	return false
}

// measure starts a measurement of what the server accepts in this scope.
func (g *Gate) measure(now time.Time) {
	g.touch()
	switch {
	case g.hold.Phase() != hold.Healthy:
	case !g.shared() || now.Before(g.session.retry):
		g.hold.Measure(now)
	default:
		g.session.report.Refusals++
	}
}

// tooMany reports whether a refusal of a key without trouble is worth a measurement of
// the server's capacity: after RefusalTolerance refusals in a row, or, with a store,
// at random for 1 in 16, since in a large fleet no replica sees many.
func (k *Key) tooMany() bool {
	return !k.Tolerance.Take(hold.RefusalTolerance) || (k.dispatcher != nil && rand.N(16) == 0)
}

// grant returns a permit for one send, once that is due.
func (g *Gate) grant(now time.Time) (hold.Permit, bool) {
	if g.inTurns() {
		return g.hold.Turn(), g.session.turns.Take(now)
	}
	return g.hold.Grant(now, g.lease(), jitter.Uniform)
}

// lease is how long a probe may take.
func (g *Gate) lease() time.Duration {
	if g.alone {
		return trialTime
	}
	return g.key.lease()
}

// setTimer arranges for a look at the next T, while a request waits for it or a
// round must end.
func (g *Gate) setTimer(now time.Time) {
	h := &g.hold
	idle := g.waiters.Len() == 0 && !g.hold.HasDeadline()
	asked := h.Shared() && !now.Before(h.Until()) // the store decides what comes next
	at := h.Until()
	if g.waiters.Len() > 0 && g.inTurns() {
		if turn, ok := g.session.turns.Next(); ok {
			at, asked = turn, false
		}
	}
	if h.Phase() == hold.Healthy || idle || asked {
		if g.timer != nil {
			g.timer.Stop()
		}
		return
	}
	if h.IsPaced() && g.waiters.Len() > 0 && !h.Shared() {
		at = h.NextSendAt()
	}
	d := max(at.Sub(now), 0)
	if g.timer == nil {
		g.timer = time.AfterFunc(d, g.tick)
		return
	}
	g.timer.Reset(d)
}

func (g *Gate) tick() {
	g.key.mu.Lock()
	defer g.key.unlock()
	if g.dropped {
		return
	}
	now := time.Now()
	g.touch()
	if g.alone && !now.Before(g.hold.Until()) {
		g.key.endTrial(now) // no answer, and no refusal
		return
	}
	g.hold.Advance(now, jitter.Uniform)
}

func (g *Gate) stopTimers() {
	for _, timer := range []*time.Timer{g.timer, g.session.timer} {
		if timer != nil {
			timer.Stop()
		}
	}
}

// stands returns the standing of a gate.
func (g *Gate) stands(now time.Time) standing {
	switch {
	case g.waiters.Len() > 0:
		return waited
	case g.hold.IsHealthy():
		return knowsNothing
	case !g.session.hint.After(now):
		return reported
	}
	return unreported
}

// compare describes the change since before, if it is worth an event.
func (g *Gate) compare(before hold.Mark, now time.Time) (Change, bool) {
	h := &g.hold
	e := Change{
		Key: g.key.text, Scope: g.scope, Kind: HoldChanged, Phase: h.Phase(), Level: h.Level(),
		Attempts: h.Attempts(), Status: h.Status(), Shared: h.Shared(),
	}
	if h.Phase() == hold.Held {
		e.Hold = max(h.Until().Sub(now), 0)
	}
	switch {
	case !h.MateriallyChanged(before), h.Phase() == before.Phase && h.Phase() != hold.Held:
		return Change{}, false
	case before.Unlimited() && !h.Unlimited():
		e.Kind = HoldStarted
	case h.Unlimited() && !before.Unlimited():
		e.Kind = HoldEnded
	}
	return e, true
}
