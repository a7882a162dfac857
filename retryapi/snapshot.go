package retryapi

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// snapshots has the latest snapshot. All requests share it for as long as
// refresh: to look at every key takes time.
type snapshots struct {
	mu     sync.Mutex // held while a snapshot is taken: all that come meanwhile share it
	latest *snapshot
	taken  time.Time
}

// snapshot is how everything stood at a time, whatever a page's filter is.
type snapshot struct {
	time        time.Time
	store       *StoreState
	totals      Totals
	keys        []KeyState // in order, without History and Words
	parked      []Summary
	deep        bool // parked has maxLimit requests, not parkedLimit
	parkedTotal int
	parkedError string

	mu     sync.Mutex // guards frames
	frames map[filter]frame
}

// frame is what a page with a filter gets of a snapshot.
type frame struct {
	json  []byte
	still []byte // what of it changes otherwise than by time
}

// snapshot returns one that is no older than refresh.
func (h *Handler) snapshot(ctx context.Context, f filter) *snapshot {
	deep := f.host != "" // a filter may leave only a few of many
	h.snapshots.mu.Lock()
	defer h.snapshots.mu.Unlock()
	s := h.snapshots.latest
	if s == nil || time.Since(h.snapshots.taken) >= refresh || (deep && !s.deep) {
		s = h.take(ctx, deep)
		h.snapshots.latest, h.snapshots.taken = s, time.Now()
	}
	return s
}

// take gathers how everything stands.
func (h *Handler) take(ctx context.Context, deep bool) *snapshot {
	now := time.Now()
	s := &snapshot{time: now.Round(0), deep: deep, frames: make(map[filter]frame)}
	if store, ok := h.Transport.Store.(interface{ Err() error }); ok {
		s.store = &StoreState{OK: true}
		if err := store.Err(); err != nil {
			s.store = &StoreState{Error: err.Error(), Since: h.history.storeAway()}
		}
	} else if h.Transport.Store != nil {
		s.store = &StoreState{OK: true}
	}
	for k := range h.Transport.Keys() {
		s.totals.add(k, now)
		s.keys = append(s.keys, h.keyState(k, now))
	}
	slices.SortFunc(s.keys, func(a, b KeyState) int {
		return cmp.Or(cmp.Compare(b.Waiters, a.Waiters), b.Until.Compare(a.Until), cmp.Compare(a.Key, b.Key))
	})
	if h.Lot == nil {
		return s
	}
	// Others share it: the end of one caller's context must not spoil it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listTimeout)
	defer cancel()
	limit := parkedLimit
	if deep {
		limit = maxLimit
	}
	parked, total, err := h.Lot.List(ctx, limit)
	if err != nil {
		s.parkedError = "the parked requests can't be reached at present"
		return s
	}
	s.parked, s.parkedTotal = parked, total
	for i := range parked {
		parked[i].Parked = parked[i].Parked.Round(time.Second)
	}
	return s
}

// state is what a snapshot has for a filter.
func (s *snapshot) state(h *Handler, f filter) State {
	state := State{
		Time: s.time, Store: s.store, Totals: s.totals, ParkedTotal: s.parkedTotal, ParkedError: s.parkedError,
		Host: f.host, Limit: f.limit, Keys: []KeyState{}, Parked: []Summary{},
	}
	for _, k := range s.keys {
		if !f.match(k.Key) {
			continue
		}
		if state.KeysTotal++; state.KeysTotal > f.limit {
			continue
		}
		k.History, k.Words = h.history.of(k.Key, s.time), words(k)
		state.Keys = append(state.Keys, k)
	}
	for _, p := range s.parked {
		if len(state.Parked) < parkedLimit && (f.match(p.Key) || f.match(p.URL)) {
			state.Parked = append(state.Parked, p)
		}
	}
	return state
}

// frame returns what a page with that filter gets. It is made once for all of
// them.
func (s *snapshot) frame(h *Handler, f filter) (frame, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if made, ok := s.frames[f]; ok {
		return made, nil
	}
	v := h.view(s.state(h, f), f)
	b, err := json.Marshal(v)
	if err != nil {
		return frame{}, err
	}
	made := frame{json: b, still: v.still()}
	if len(s.frames) < maxStreams {
		s.frames[f] = made
	}
	return made, nil
}

// state is what a request asks for.
func (h *Handler) state(r *http.Request) State {
	f := filterOf(r)
	return h.snapshot(r.Context(), f).state(h, f)
}

// match reports whether a key is one that is asked for. A key of the user's own
// may have capital letters.
func (f filter) match(key string) bool {
	return f.host == "" || strings.Contains(strings.ToLower(key), f.host)
}
