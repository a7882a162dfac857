package holdoffprom

import (
	"iter"
	"maps"
	"sync"
	"time"
)

// part is a kind of scope of a key.
type part struct{ key, scope string }

// clock adds up for how long parts of keys are held. It is possible that no request looks at a key when its
// hold runs out, so that the end of a hold is taken from what was announced, and
// not from an event.
type clock struct {
	mu    sync.Mutex
	spans map[part]*span
}

// span is the holds of a key: how long they lasted up to since, and when the one
// that goes on will end.
type span struct {
	total      time.Duration
	since, end time.Time
}

func (s *span) advance(now time.Time) {
	if s.end.After(s.since) && now.After(s.since) {
		upTo := now
		if s.end.Before(now) {
			upTo = s.end
		}
		s.total += upTo.Sub(s.since)
	}
	s.since = now
}

// hold notes that a part is held for d from now on; at 0, that it no longer is. Of
// several scopes of one kind, or the keys that are other, one may go on to be held when
// one is let go.
func (c *clock) hold(of part, d time.Duration, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.spans[of]
	if s == nil {
		if c.spans == nil {
			c.spans = make(map[part]*span)
		}
		s = &span{}
		c.spans[of] = s
	}
	s.advance(now)
	if end := now.Add(d); (of.key != other && of.scope == "key") || end.After(s.end) {
		s.end = end
	}
}

// totals yields for how long each part has been held up to now.
func (c *clock) totals(now time.Time) iter.Seq2[part, time.Duration] {
	c.mu.Lock()
	defer c.mu.Unlock()
	totals := make(map[part]time.Duration, len(c.spans))
	for of, s := range c.spans {
		s.advance(now)
		totals[of] = s.total
	}
	return maps.All(totals)
}
