package quota

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/ratelimitheader"
)

// maxNamed is how many counters with a name are kept of a host. The numbers of further
// ones are ignored until the window of one of these is over: as those of the counter
// without a name they would make it doubted.
const maxNamed = 64

// Counters are the quotas of one host: a Counter for each name that the server gives to a
// limit and each sender that meets it, and one for the numbers without a name. Each is
// believed or doubted by itself: numbers of two limits in turn contradict each other only
// where it is not known which is which. The zero value is ready for use, and safe for
// concurrent use.
type Counters struct {
	unnamed Counter
	named   atomic.Pointer[[]*namedCounter] // replaced as a whole
	adding  sync.Mutex                      // held by whoever replaces it
}

type namedCounter struct {
	Counter
	name   string
	sender uint64
}

// Used reports whether answers have carried numbers.
func (c *Counters) Used() bool { return c.unnamed.Used() || c.named.Load() != nil }

// Read takes in the numbers in the header of an answer that took so long (0:
// unknown), and returns those of a counter that is believed, and its name: "" where
// the server gave none. Of several it returns the most urgent one. sender is asked for
// who sent the request only where a name is given. longest is the longest time until a
// reset for which requests may wait.
func (c *Counters) Read(h http.Header, sender func() uint64, took time.Duration, now time.Time, longest time.Duration) (q hold.Quota, name string, ok bool) {
	ratelimitheader.Counts(h, now, func(said ratelimitheader.Count) {
		counter, of := &c.unnamed, ""
		if said.Limit != "" {
			n := c.counter(said.Limit, sender(), now)
			if n == nil {
				return
			}
			counter, of = &n.Counter, n.name
		}
		learned, believed := counter.Learn(said.Remaining, said.Reset, took, now, longest)
		if believed && (!ok || moreUrgent(learned, q)) {
			q, name, ok = learned, of, true
		}
	})
	return q, name, ok
}

// counter returns the counter of a name and a sender, and nil where there are too many.
func (c *Counters) counter(name string, sender uint64, now time.Time) *namedCounter {
	if n := c.find(name, sender); n != nil {
		return n
	}
	if !c.adding.TryLock() {
		return nil // the next answer says as much
	}
	defer c.adding.Unlock()
	if n := c.find(name, sender); n != nil {
		return n
	}
	var all []*namedCounter
	if known := c.named.Load(); known != nil {
		all = slices.Clone(*known)
	}
	if len(all) >= maxNamed {
		all = slices.DeleteFunc(all, func(n *namedCounter) bool { return n.over(now) })
	}
	if len(all) >= maxNamed {
		return nil
	}
	// The name is part of a header, which is not to be kept for its sake.
	added := &namedCounter{name: strings.Clone(name), sender: sender}
	all = append(all, added)
	c.named.Store(&all)
	return added
}

func (c *Counters) find(name string, sender uint64) *namedCounter {
	if known := c.named.Load(); known != nil {
		for _, n := range *known {
			if n.sender == sender && n.name == name {
				return n
			}
		}
	}
	return nil
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
