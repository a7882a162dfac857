package holdoff

import (
	"container/list"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A probe that takes this much longer than the host's usual latency is
	// given up for lost, and another is sent.
	minLease = time.Second
	maxLease = 30 * time.Second
)

// gate is what a process knows of one key: its hold, who waits for it, its
// budget and its latency. Requests of a healthy key pass it without a lock.
type gate struct {
	name    keyName
	key     string // name, as people see it
	budget  budget
	surplus budget       // refusals that are left to retries
	quota   quota        // what the server says of one
	latency atomic.Int64 // smoothed time to response headers, in ns; 0 = unknown
	// glance is the hold's generation, doubled, plus one while the hold is not
	// well(): all that a request has to read to pass. It is written under mu.
	glance  atomic.Uint64
	evicted atomic.Bool // the table has forgotten this gate, and has or makes another; set under mu
	emit    func(Event)

	mu      sync.Mutex // guards what follows
	hold    hold
	waiters queue
	timer   *time.Timer
	bad     time.Time // when this process last met a failure
	share   share

	// Of the table that the gate is in, whose lock is needed as well to change
	// what follows; nil where it is in none yet, or was evicted.

	table    *gates
	standing standing
	place    *list.Element // among the gates of this standing
}

// open lets a request of a healthy key pass, without a lock.
func (g *gate) open() (pass, bool) {
	look := g.glance.Load()
	return pass{generation: look >> 1}, look&1 == 0
}

// learn takes in an outcome, or reports false where the gate was evicted.
func (g *gate) learn(o outcome) bool {
	defer g.unlock(g.lock())
	if g.evicted.Load() {
		return false
	}
	now := time.Now()
	if o.lesson != Good && o.lesson != Nothing {
		g.bad = now
	}
	if h := &g.hold; h.phase == Counted {
		o.permit, o.generation = true, h.generation // all that comes in is counted, whenever it was sent
	}
	if h := &g.hold; h.phase == Probing && o.permit && o.generation == h.generation && o.lesson == Nothing && o.hint > 0 {
		o.lesson = Refused // a probe that is asked to come back later has not found the host well
	}
	many := g.refusedMuch(o)
	if g.share.link != nil {
		g.learnShared(o, now)
	} else {
		g.hold.learn(o, now, uniform)
	}
	switch {
	case !many:
	case g.share.link == nil || now.Before(g.share.retry):
		g.hold.count(now)
	default:
		g.share.news.Refusals++
	}
	return true
}

// refusedMuch reports whether o is a refusal that makes one ask whether the server
// takes less than it is sent. Of a fleet, one in sixteen asks: in a large one
// nobody meets many.
func (g *gate) refusedMuch(o outcome) bool {
	if o.lesson != Refused || o.hint >= minHold || g.hold.phase != Healthy {
		return false
	}
	return !g.surplus.take(surplus) || (g.share.link != nil && rand.N(16) == 0)
}

// held reports whether requests have to wait at the gate, and the earliest time
// at which one may pass.
func (g *gate) held() (time.Time, bool) {
	if _, open := g.open(); open {
		return time.Time{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hold.phase != Held {
		return time.Time{}, g.hold.phase != Healthy
	}
	return g.hold.until, true
}

// sample takes in the latency of a first attempt that succeeded, with the gain
// of RFC 6298. A sample that is lost to another does no harm.
func (g *gate) sample(d time.Duration) {
	old := g.latency.Load()
	if old == 0 {
		g.latency.Store(max(int64(d), 1))
		return
	}
	g.latency.Store(old + (int64(d)-old)/8)
}

func (g *gate) lease() time.Duration {
	return min(max(4*time.Duration(g.latency.Load()), minLease), maxLease)
}

// lock locks the gate and returns the hold as it was.
func (g *gate) lock() hold {
	g.mu.Lock()
	return g.hold
}

// unlock does what a change of the hold since before calls for: waiters that may
// go are let go, the timer is set for the next T, the store is told, and so is
// whoever watches. Then it unlocks the gate.
func (g *gate) unlock(before hold) {
	now := time.Now()
	if g.orphaned(now) {
		g.alone(News{})
	}
	g.release(now)
	g.setTimer(now)
	g.schedule(now)
	if s := g.stands(now); g.table != nil && s != g.standing {
		g.table.move(g, s)
	}
	look := g.hold.generation << 1
	if !g.hold.well() || g.share.failing {
		look |= 1
	}
	g.glance.Store(look)
	event, worth := g.compare(before, now)
	g.mu.Unlock()
	if worth {
		g.emit(event)
	}
}

// grant gives leave for one send, once that is due.
func (g *gate) grant(now time.Time) (pass, bool) {
	if h := &g.hold; h.spaced() && now.Before(h.due()) {
		return pass{}, false
	}
	lease := g.lease()
	g.hold.latency = slowness(lease)
	return g.hold.grant(now, lease)
}

// slowness is the latency of which lease was made, if it is long.
func slowness(lease time.Duration) time.Duration {
	if lease <= minLease {
		return 0
	}
	return lease / 4
}

// setTimer arranges for a look at the next T, while somebody waits for it or a
// ramp may end.
func (g *gate) setTimer(now time.Time) {
	h := &g.hold
	idle := g.waiters.Len() == 0 && !g.hold.slotted()
	asked := h.shared && !now.Before(h.until) // what comes next is the store's to say
	if h.phase == Healthy || idle || asked {
		if g.timer != nil {
			g.timer.Stop()
		}
		return
	}
	at := h.until
	if h.spaced() && g.waiters.Len() > 0 {
		at = h.due()
	}
	d := max(at.Sub(now), 0)
	if g.timer == nil {
		g.timer = time.AfterFunc(d, g.tick)
		return
	}
	g.timer.Reset(d)
}

func (g *gate) tick() {
	before := g.lock()
	g.hold.roll(time.Now(), uniform)
	g.unlock(before)
}

// compare describes the change since before, if it is worth an event.
func (g *gate) compare(before hold, now time.Time) (Event, bool) {
	h := &g.hold
	e := Event{
		Key: g.key, Kind: HoldChanged, Phase: h.phase, Level: h.level,
		Attempts: h.attempts, Status: h.status, Shared: h.shared,
	}
	if h.phase == Held {
		e.Hold = max(h.until.Sub(now), 0)
	}
	switch {
	case !h.moved(before), h.phase == before.phase && h.phase != Held:
		return Event{}, false
	case before.free() && !h.free():
		e.Kind = HoldStarted
	case h.free() && !before.free():
		e.Kind = HoldEnded
	}
	return e, true
}
