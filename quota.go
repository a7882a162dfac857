package holdoff

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
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
	first  int        // what remained when the window was first seen
	left   int
	falls  int
	proven bool
	marks  [2]mark // for the rate of use: the older first
	doubt  time.Time
}

type mark struct {
	left int
	at   time.Time
}

// read takes in the numbers of an answer, and returns the ration if there is
// reason to go by one.
func (q *quota) read(h http.Header, now time.Time, longest time.Duration) (ration, bool) {
	left, after, ok := remaining(h, now)
	if !ok {
		return ration{}, false
	}
	q.used.Store(true)
	if !q.mu.TryLock() {
		return ration{}, false // the next answer tells as much
	}
	defer q.mu.Unlock()
	return q.see(left, now.Add(after), now, longest)
}

func (q *quota) see(left int, reset, now time.Time, longest time.Duration) (ration, bool) {
	if now.Before(q.doubt) {
		return ration{}, false
	}
	moved := reset.Sub(q.reset)
	same := moved.Abs() <= quotaSlack && left <= q.first+quotaReorder
	ends := q.reset.Sub(now)
	switch {
	case ends <= 0 && left <= q.left && !q.reset.IsZero():
		q.reset = reset // the server rounds down: nothing was refilled yet
	case ends <= 0, ends <= quotaSlack && !same:
		if moved < -quotaSlack {
			return ration{}, false // a late answer of the window before
		}
		q.reset, q.first, q.left, q.falls = reset, left, left, 0
		q.marks = [2]mark{{left, now}, {left, now}}
	case !same:
		proven := q.proven
		q.doubt, q.reset, q.proven = now.Add(quotaDoubt), time.Time{}, false
		return ration{lies: true}, proven
	case moved < 0:
		q.reset = reset // the server rounds up
	}
	if left > q.left {
		return ration{}, false // out of order
	}
	if left < q.left {
		q.left = left
		q.falls++
	}
	if now.Sub(q.marks[1].at) >= quotaRate {
		q.marks = [2]mark{q.marks[1], {left, now}}
	}
	q.proven = q.proven || q.falls >= quotaProof
	if !q.proven || q.reset.Sub(now) > longest {
		return ration{}, false
	}
	r := ration{left: left, refill: q.reset}
	if took := now.Sub(q.marks[0].at); took >= quotaRate {
		rate := float64(q.marks[0].left-left) / took.Seconds()
		r.near = float64(left) <= rate*quotaNear.Seconds()
	}
	return r, true
}

// remaining returns what the server says to remain of its tightest quota, and
// after what time it is refilled.
func remaining(h http.Header, now time.Time) (left int, after time.Duration, ok bool) {
	for _, line := range h["Ratelimit"] {
		for item := range strings.SplitSeq(line, ",") {
			r, t := int64(-1), int64(-1)
			for param := range strings.SplitSeq(item, ";") {
				switch name, value, _ := strings.Cut(strings.TrimSpace(param), "="); name {
				case "r":
					r = integer(value)
				case "t":
					t = integer(value)
				}
			}
			if r >= 0 && t >= 0 && (!ok || int(r) < left) {
				left, after, ok = int(r), seconds(float64(max(t, 1))), true
			}
		}
	}
	if ok {
		return left, after, true
	}
	for _, f := range resetFields {
		values, resets := h[f.remaining], h[f.reset]
		if len(values) != 1 || len(resets) != 1 {
			continue
		}
		r, err := strconv.ParseFloat(strings.TrimSpace(values[0]), 64)
		if err != nil || !(r >= 0 && r < 1e9) {
			continue
		}
		if d, ok := delayOrDate(strings.TrimSpace(resets[0]), serverTime(h, now)); ok {
			return int(r), max(d, time.Second), true
		}
	}
	return 0, 0, false
}
