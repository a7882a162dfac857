package holdoff

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/internal/ratelimitheader"
)

const (
	// quotaProof is how often a counter must be seen to fall before it is
	// believed.
	quotaProof = 3
	// quotaNear is how near its end a quota must be, at the rate at which it is
	// being used up, to be rationed: time for everybody to hear of it.
	quotaNear = 250 * time.Millisecond
	// quotaRate is over how long that rate is measured, at least.
	quotaRate = 100 * time.Millisecond
	// quotaSlack is by how much the end of a window may seem to move: servers
	// give it in seconds, rounded.
	quotaSlack = 1100 * time.Millisecond
	// quotaWatch is how long a counter is watched, where its end is no further off
	// than quotaSlack, before it is believed.
	quotaWatch = 750 * time.Millisecond
	// quotaReorder is how many answers may come out of order.
	quotaReorder = 32
	// quotaDoubt is how long numbers are not believed that contradicted each
	// other.
	quotaDoubt = 10 * time.Minute
)

// quota is what a gate knows of a server's quota from the headers of answers:
// what remains, until when. The numbers are believed only while they are those
// of one counter that falls within one window, since many servers send the
// numbers of another limiter than the one that will refuse.
type quota struct {
	used atomic.Bool // answers carry numbers: each is looked at

	mu     sync.Mutex // guards what follows
	reset  time.Time  // end of the window; the earliest that fits all answers
	ended  time.Time  // of the one before
	first  int        // what remained when the window was first seen
	left   int
	low    time.Time    // when that was heard
	rises  [2]time.Time // when the counter rose in mid-window: the older first
	since  time.Time    // when the first number was seen
	falls  int
	proven bool
	marks  [3]mark // for the rate of use: the older first
	doubt  time.Time
}

type mark struct {
	left int
	at   time.Time
}

// read takes in the numbers of an answer that took so long (0: unknown), and
// returns the ration if there is reason to go by one.
func (q *quota) read(h http.Header, took time.Duration, now time.Time, longest time.Duration) (ration, bool) {
	left, refill, ok := ratelimitheader.Remaining(h, now)
	if !ok {
		return ration{}, false
	}
	if !q.used.Load() {
		q.used.Store(true)
	}
	if !q.mu.TryLock() {
		return ration{}, false // the next answer tells as much
	}
	defer q.mu.Unlock()
	return q.see(left, now.Add(refill), took, now, longest)
}

func (q *quota) see(left int, reset time.Time, took time.Duration, now time.Time, longest time.Duration) (ration, bool) {
	if now.Before(q.doubt) {
		return ration{}, false
	}
	if q.since.IsZero() {
		q.since = now
	}
	moved := reset.Sub(q.reset)
	same := moved.Abs() <= quotaSlack && left <= q.first+quotaReorder
	// It was asked for after less had been heard of.
	rose := same && left > q.left && took > 0 && now.Add(-took).After(q.low)
	ends := q.reset.Sub(now)
	switch {
	case ends <= 0 && left <= q.left && !q.reset.IsZero():
		q.reset = reset // the server rounds down: nothing was refilled yet
	case moved < -quotaSlack && (ends <= quotaSlack || reset.Sub(q.ended) <= 2*quotaSlack):
		return ration{}, false // a late answer of the window before
	case rose && (ends > 2*quotaSlack || now.Sub(q.rises[0]) < quotaSlack), !same && ends > quotaSlack:
		// It is refilled all the time (a token bucket that says when it will be
		// full), or is not one counter: one per path, say, or per caller, whose
		// windows all begin on the minute.
		proven := q.proven
		q.doubt, q.reset, q.proven = now.Add(quotaDoubt), time.Time{}, false
		return ration{lies: true}, proven
	case ends <= 0, !same, rose:
		if rose {
			q.rises = [2]time.Time{q.rises[1], now}
		}
		q.ended, q.reset, q.first, q.left, q.low, q.falls = q.reset, reset, left, left, now, 0
		q.marks = [3]mark{{left, now}, {left, now}, {left, now}}
	case moved < 0:
		q.reset = reset // the server rounds up
	}
	if left > q.left {
		return ration{}, false // out of order
	}
	last := mark{q.left, q.low}
	if left < q.left {
		q.left, q.low = left, now
		q.falls++
	}
	if now.Sub(q.marks[2].at) >= quotaRate {
		q.marks = [3]mark{q.marks[1], q.marks[2], {left, now}}
	}
	// Where the end is nearer than its rounding, it may be any; that shows in time.
	short := q.reset.Sub(now) <= quotaSlack && now.Sub(q.since) < quotaWatch
	q.proven = q.proven || (q.falls >= quotaProof && !short)
	if !q.proven || q.reset.Sub(now) > longest {
		return ration{}, false
	}
	r := ration{left: left, refill: q.reset}
	// The answer before must have seen it come: what falls at a stroke may be another
	// counter.
	r.near = q.marks[1].near(mark{left, now}, quotaNear) && q.marks[0].near(last, 2*(quotaNear+now.Sub(last.at)))
	return r, true
}

// near reports whether what is left at a later mark lasts no longer than d, at
// the rate of use since m.
func (m mark) near(later mark, d time.Duration) bool {
	took := later.at.Sub(m.at)
	return took >= quotaRate && float64(later.left)*took.Seconds() <= float64(m.left-later.left)*d.Seconds()
}
