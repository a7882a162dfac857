package quota

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/ratelimitheader"
)

// maxNamed is how many names of limits are kept of a host. The numbers of further ones
// are ignored: as those of the counter without a name they would make it doubted.
const maxNamed = 16

// Counters are the quotas of one host: a Counter per name that the server gives to a
// limit, and one for the numbers without a name. Each is believed or doubted by
// itself: numbers of two limits in turn contradict each other only where the server
// does not say which is which. The zero value is ready for use, and safe for
// concurrent use.
type Counters struct {
	unnamed namedCounter
	named   atomic.Pointer[namedCounter] // the newest of a list
}

type namedCounter struct {
	Counter
	name string
	next *namedCounter
}

// Used reports whether answers have carried numbers.
func (c *Counters) Used() bool { return c.unnamed.Used() || c.named.Load() != nil }

// Single reports whether all numbers were those of one limit.
func (c *Counters) Single() bool {
	newest := c.named.Load()
	return newest == nil || (newest.next == nil && !c.unnamed.Used())
}

// Read takes in the numbers in the header of an answer that took so long (0:
// unknown), and returns those of a counter that is believed, and its name: "" where
// the server gave none. Of several it returns the most urgent one. longest is the
// longest time until a reset for which requests may wait.
func (c *Counters) Read(h http.Header, took time.Duration, now time.Time, longest time.Duration) (q hold.Quota, name string, ok bool) {
	ratelimitheader.Counts(h, now, func(said ratelimitheader.Count) {
		counter := c.counter(said.Limit)
		if counter == nil {
			return
		}
		learned, believed := counter.Learn(said.Remaining, said.Reset, took, now, longest)
		if believed && (!ok || moreUrgent(learned, q)) {
			q, name, ok = learned, counter.name, true
		}
	})
	return q, name, ok
}

// counter returns the counter of a name, and nil where there are too many.
func (c *Counters) counter(name string) *namedCounter {
	if name == "" {
		return &c.unnamed
	}
	for {
		newest := c.named.Load()
		known := 0
		for n := newest; n != nil; n = n.next {
			if n.name == name {
				return n
			}
			known++
		}
		if known == maxNamed {
			return nil
		}
		// The name is part of a header, which is not to be kept for its sake.
		added := &namedCounter{name: strings.Clone(name), next: newest}
		if c.named.CompareAndSwap(newest, added) {
			return added
		}
	}
}

// moreUrgent reports whether a is to be acted on rather than b. That a counter
// contradicts itself is said once; what remains, by the next answer again.
func moreUrgent(a, b hold.Quota) bool {
	switch {
	case a.Inconsistent != b.Inconsistent:
		return a.Inconsistent
	case a.NearExhaustion != b.NearExhaustion:
		return a.NearExhaustion
	}
	return a.Remaining < b.Remaining
}
