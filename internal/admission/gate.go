package admission

import (
	"container/list"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/hostkey"
	"github.com/go-holdoff/holdoff/internal/jitter"
	"github.com/go-holdoff/holdoff/internal/quota"
	"github.com/go-holdoff/holdoff/internal/retrybudget"
)

// A Gate is what a process knows of one key: its machine, the requests that wait for
// it, its retry budget and its latency. Requests of a healthy key pass it without a
// lock.
type Gate struct {
	name      hostkey.Name
	key       string // name, as people see it
	Budget    retrybudget.Budget
	Tolerance retrybudget.Budget // refusals that are left to retries
	Quota     quota.Counter      // what the server says of one
	latency   atomic.Int64       // smoothed time to response headers, in ns; 0 = unknown
	// fastPath is the machine's generation, doubled, plus one while the key is not
	// healthy: all that a request has to read to pass. It is written under mu.
	fastPath atomic.Uint64
	evicted  atomic.Bool // the table has forgotten this gate, and has or makes another; set under mu
	emit     func(Change)

	mu      sync.Mutex // guards what follows
	hold    hold.Machine
	waiters queue
	timer   *time.Timer
	bad     time.Time // when this process last met a failure
	session session

	// Of the table that the gate is in, whose lock is needed as well to change
	// what follows; nil where it is in none yet, or was evicted.

	table    *Table
	standing standing
	place    *list.Element // among the gates of this standing
}

// Key returns the key, as people see it.
func (g *Gate) Key() string { return g.key }

// Latency returns the smoothed time to response headers, or 0 if it is unknown.
func (g *Gate) Latency() time.Duration { return time.Duration(g.latency.Load()) }

// TryFastPath lets a request of a healthy key pass, without a lock.
func (g *Gate) TryFastPath() (hold.Permit, bool) {
	look := g.fastPath.Load()
	return hold.Permit{Generation: look >> 1}, look&1 == 0
}

// Record takes in what came of a send, or reports false where the gate was evicted.
func (g *Gate) Record(o hold.Result) bool {
	defer g.applyAndUnlock(g.lock())
	if g.evicted.Load() {
		return false
	}
	now := time.Now()
	if o.Lesson != hold.Good && o.Lesson != hold.Nothing {
		g.bad = now
	}
	if h := &g.hold; h.Phase() == hold.Counted {
		o.Limited, o.Generation = true, h.Generation() // every result is counted, whenever the request was sent
	}
	if h := &g.hold; h.Phase() == hold.Probing && o.Limited && o.Generation == h.Generation() && o.Lesson == hold.Nothing && o.Hint > 0 {
		o.Lesson = hold.Refused // a probe that is asked to come back later has not found the server up
	}
	many := g.shouldMeasure(o)
	if g.session.dispatcher != nil {
		g.recordShared(o, now)
	} else {
		g.hold.Record(o, now, jitter.Uniform)
	}
	switch {
	case !many:
	case g.session.dispatcher == nil || now.Before(g.session.retry):
		g.hold.Measure(now)
	default:
		g.session.report.Refusals++
	}
	return true
}

// shouldMeasure reports whether this refusal should start a measurement of the
// server's capacity: after RefusalTolerance refusals in a row, or, with a store, at
// random for 1 in 16, since in a large fleet no replica sees many.
func (g *Gate) shouldMeasure(o hold.Result) bool {
	if o.Lesson != hold.Refused || o.Hint >= hold.MinHold || g.hold.Phase() != hold.Healthy {
		return false
	}
	return !g.Tolerance.Take(hold.RefusalTolerance) || (g.session.dispatcher != nil && rand.N(16) == 0)
}

// HeldUntil reports whether requests have to wait at the gate, and the earliest time
// at which one may be sent.
func (g *Gate) HeldUntil() (time.Time, bool) {
	if _, open := g.TryFastPath(); open {
		return time.Time{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hold.Phase() != hold.Held {
		return time.Time{}, g.hold.Phase() != hold.Healthy
	}
	return g.hold.Until(), true
}

// Sample takes in the latency of a first attempt that succeeded, with the gain of
// RFC 6298. A sample that is lost to another does no harm.
func (g *Gate) Sample(d time.Duration) {
	old := g.latency.Load()
	if old == 0 {
		g.latency.Store(max(int64(d), 1))
		return
	}
	g.latency.Store(old + (int64(d)-old)/8)
}

func (g *Gate) lease() time.Duration {
	return hold.Lease(time.Duration(g.latency.Load()))
}

// lock locks the gate and returns the machine as it was.
func (g *Gate) lock() hold.Machine {
	g.mu.Lock()
	return g.hold
}

// applyAndUnlock does what a change of the machine since before calls for: it
// releases waiters, sets the timer for the next T, schedules a report to the store,
// opens or closes the fast path, and unlocks the gate. Then it tells watchers.
func (g *Gate) applyAndUnlock(before hold.Machine) {
	now := time.Now()
	if g.storeOverdue(now) {
		g.onStoreError(hold.Report{})
	}
	g.release(now)
	g.setTimer(now)
	g.schedule(now)
	if s := g.stands(now); g.table != nil && s != g.standing {
		g.table.move(g, s)
	}
	look := g.hold.Generation() << 1
	if !g.hold.IsHealthy() || g.session.failing {
		look |= 1
	}
	g.fastPath.Store(look)
	event, worth := g.compare(before, now)
	g.mu.Unlock()
	if worth {
		g.emit(event)
	}
}

// grant returns a permit for one send, once that is due.
func (g *Gate) grant(now time.Time) (hold.Permit, bool) {
	return g.hold.Grant(now, g.lease(), jitter.Uniform)
}

// setTimer arranges for a look at the next T, while a request waits for it or a
// round must end.
func (g *Gate) setTimer(now time.Time) {
	h := &g.hold
	idle := g.waiters.Len() == 0 && !g.hold.HasDeadline()
	asked := h.Shared() && !now.Before(h.Until()) // the store decides what comes next
	if h.Phase() == hold.Healthy || idle || asked {
		if g.timer != nil {
			g.timer.Stop()
		}
		return
	}
	at := h.Until()
	if h.IsPaced() && g.waiters.Len() > 0 {
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
	before := g.lock()
	g.hold.Advance(time.Now(), jitter.Uniform)
	g.applyAndUnlock(before)
}

// compare describes the change since before, if it is worth an event.
func (g *Gate) compare(before hold.Machine, now time.Time) (Change, bool) {
	h := &g.hold
	e := Change{
		Key: g.key, Kind: HoldChanged, Phase: h.Phase(), Level: h.Level(),
		Attempts: h.Attempts(), Status: h.Status(), Shared: h.Shared(),
	}
	if h.Phase() == hold.Held {
		e.Hold = max(h.Until().Sub(now), 0)
	}
	switch {
	case !h.MateriallyChanged(before), h.Phase() == before.Phase() && h.Phase() != hold.Held:
		return Change{}, false
	case before.Unlimited() && !h.Unlimited():
		e.Kind = HoldStarted
	case h.Unlimited() && !before.Unlimited():
		e.Kind = HoldEnded
	}
	return e, true
}
