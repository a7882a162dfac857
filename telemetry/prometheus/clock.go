package holdoffprom

import (
	"iter"
	"maps"
	"sync"
	"time"
)

// clock adds up for how long keys are held. Nobody may look at a key when its
// hold runs out, so that the end of a hold is taken from what was announced, and
// not from an event.
type clock struct {
	mu    sync.Mutex
	spans map[string]*span
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

// hold notes that key is held for d from now on; at 0, that it no longer is. Of
// the keys that are other, one may go on to be held when one is let go.
func (c *clock) hold(key string, d time.Duration, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.spans[key]
	if s == nil {
		if c.spans == nil {
			c.spans = make(map[string]*span)
		}
		s = &span{}
		c.spans[key] = s
	}
	s.advance(now)
	if end := now.Add(d); key != other || end.After(s.end) {
		s.end = end
	}
}

// totals yields for how long each key has been held up to now.
func (c *clock) totals(now time.Time) iter.Seq2[string, time.Duration] {
	c.mu.Lock()
	defer c.mu.Unlock()
	totals := make(map[string]time.Duration, len(c.spans))
	for key, s := range c.spans {
		s.advance(now)
		totals[key] = s.total
	}
	return maps.All(totals)
}
