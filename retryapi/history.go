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
	away time.Time            // since when the store fails
}

// note takes in an event of the Transport.
func (h *history) note(e holdoff.Event, now time.Time) {
	now = now.Round(0)
	switch e.Kind {
	case holdoff.HoldStarted, holdoff.HoldChanged, holdoff.HoldEnded:
	case holdoff.StoreFailed, holdoff.StoreBack:
		h.mu.Lock()
		defer h.mu.Unlock()
		h.away = time.Time{}
		if e.Kind == holdoff.StoreFailed {
			h.away = now
		}
		return
	default:
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keys == nil {
		h.keys, h.held = make(map[string][]Interval), make(map[string]time.Time)
	}
	key := e.Scope.Of(e.Key)
	list := h.keys[key]
	if list == nil && len(h.keys) >= historyKeys {
		h.evict()
	}
	open := len(list) > 0 && list[len(list)-1].To.IsZero()
	if e.Kind == holdoff.HoldEnded {
		delete(h.held, key)
		if open {
			list[len(list)-1].To = now
		}
		return
	}
	if e.Phase == holdoff.Held {
		h.held[key] = now
	}
	if !open {
		list = append(list, Interval{From: now, Status: e.Status})
		h.keys[key] = list[max(len(list)-historyLen, 0):]
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

// of returns what is remembered of a key, as far back as a chart reaches.
func (h *history) of(key string, now time.Time) []Interval {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.keys[key]
	for len(list) > 0 && !list[0].To.IsZero() && now.Sub(list[0].To) > historySpan {
		list = list[1:]
	}
	return append([]Interval{}, list...)
}

// since returns when the present hold of a key began, as far as it is known.
func (h *history) since(key string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[key]
}

// storeAway returns since when the store fails, as far as it is known.
func (h *history) storeAway() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.away
}
