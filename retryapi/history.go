package retryapi

import (
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
)

const (
	// historyKeys and historyLen bound what is remembered: of so many keys, so
	// many of the latest intervals each.
	historyKeys = 1000
	historyLen  = 40
	// historySpan is how far back a chart reaches.
	historySpan = 10 * time.Minute
)

// history remembers when keys were not healthy. The zero value is ready for use.
type history struct {
	mu   sync.Mutex // guards what follows
	keys map[string][]Interval
	held map[string]time.Time // when the present hold began: of those that are held
}

// note takes in an event of the Transport.
func (h *history) note(e holdoff.Event, now time.Time) {
	switch e.Kind {
	case holdoff.HoldStarted, holdoff.HoldChanged, holdoff.HoldEnded:
	default:
		return
	}
	now = now.Round(0)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keys == nil {
		h.keys, h.held = make(map[string][]Interval), make(map[string]time.Time)
	}
	list := h.keys[e.Key]
	if list == nil && len(h.keys) >= historyKeys {
		h.evict()
	}
	open := len(list) > 0 && list[len(list)-1].To.IsZero()
	if e.Kind == holdoff.HoldEnded {
		delete(h.held, e.Key)
		if open {
			list[len(list)-1].To = now
		}
		return
	}
	if e.Phase == holdoff.Held {
		h.held[e.Key] = now
	}
	if !open {
		list = append(list, Interval{From: now, Status: e.Status})
		h.keys[e.Key] = list[max(len(list)-historyLen, 0):]
	}
}

// evict forgets the key whose latest interval is the oldest. The caller holds mu.
func (h *history) evict() {
	var oldest string
	var when time.Time
	for key, list := range h.keys {
		if from := list[len(list)-1].From; oldest == "" || from.Before(when) {
			oldest, when = key, from
		}
	}
	delete(h.keys, oldest)
	delete(h.held, oldest)
}

// of returns what is remembered of a key.
func (h *history) of(key string) []Interval {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Interval{}, h.keys[key]...)
}

// since returns when the present hold of a key began, as far as it is known.
func (h *history) since(key string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[key]
}

// bar is one interval of a chart that is 100 wide.
type bar struct{ X, Width float64 }

// chart lays the history of a key out on the last ten minutes.
func chart(list []Interval, now time.Time) []bar {
	var bars []bar
	begin := now.Add(-historySpan)
	for _, i := range list {
		to := i.To
		if to.IsZero() {
			to = now
		}
		if !to.After(begin) {
			continue
		}
		x := max(i.From.Sub(begin).Seconds(), 0) / historySpan.Seconds() * 100
		width := to.Sub(begin).Seconds()/historySpan.Seconds()*100 - x
		bars = append(bars, bar{X: x, Width: max(width, 0.5)})
	}
	return bars
}
