package retryapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff"
)

// State is the answer to GET /state: how everything stands. Its parameters are
// host, a part of the keys to show, and limit, how many of them (at most 1,000;
// 200 if it is left out).
type State struct {
	Time time.Time `json:"time"`
	// Store is the health of the store; it is left out where there is none.
	Store *StoreState `json:"store,omitempty"`
	// Keys are those that are held or failing, the longest held first.
	Keys []KeyState `json:"keys"`
	// KeysTotal is how many there are, of which Keys may be a part.
	KeysTotal int `json:"keysTotal"`
	// Parked are the requests that were given up, the latest first.
	Parked      []Summary `json:"parked"`
	ParkedTotal int       `json:"parkedTotal"`
	// ParkedError says why Parked can't be shown.
	ParkedError string `json:"parkedError,omitempty"`

	Host  string `json:"host,omitempty"` // the filter
	Limit int    `json:"limit"`
}

// StoreState is the health of a store.
type StoreState struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// KeyState is how one key stands.
type KeyState struct {
	Key   string `json:"key"`
	Phase string `json:"phase"` // healthy, held, probing, ramping
	// Until is when the hold, the probe's lease or the ramp's slot ends, and
	// Left how much of it was left at State.Time, in milliseconds.
	Until time.Time `json:"until,omitzero"`
	Left  int64     `json:"left"`
	// Hold is how long the hold is in all, in milliseconds; 0 where it is not
	// known.
	Hold      int64      `json:"hold,omitempty"`
	Attempts  int        `json:"attempts"`
	Last      time.Time  `json:"last,omitzero"`
	Status    int        `json:"status,omitempty"`
	Level     int        `json:"level"`
	Witnesses int        `json:"witnesses"`
	Waiters   int        `json:"waiters"`
	Shared    bool       `json:"shared"` // the store says so
	Told      bool       `json:"told"`   // by another replica: this one has met no failure
	Word      bool       `json:"word"`   // the server asked for it
	History   []Interval `json:"history"`
	Words     string     `json:"words"` // all that in a sentence
}

// Interval is a time during which a key was not healthy.
type Interval struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to,omitzero"` // left out while it lasts
	Status int       `json:"status,omitempty"`
}

const (
	defaultLimit = 200
	maxLimit     = 1000
	parkedLimit  = 200
	listTimeout  = time.Second
)

// filter is what of the state is asked for.
type filter struct {
	host  string
	limit int
}

func filterOf(r *http.Request) filter {
	query := r.URL.Query()
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 {
		limit = defaultLimit
	}
	return filter{host: strings.ToLower(query.Get("host")), limit: min(limit, maxLimit)}
}

func (f filter) shows(key string) bool { return strings.Contains(strings.ToLower(key), f.host) }

// state gathers how everything stands.
func (h *Handler) state(ctx context.Context, f filter) State {
	now := time.Now()
	s := State{Time: now.Round(0), Host: f.host, Limit: f.limit, Keys: []KeyState{}, Parked: []Summary{}}
	if store, ok := h.Transport.Store.(interface{ Err() error }); ok {
		s.Store = &StoreState{OK: true}
		if err := store.Err(); err != nil {
			s.Store = &StoreState{Error: err.Error()}
		}
	} else if h.Transport.Store != nil {
		s.Store = &StoreState{OK: true}
	}
	for k := range h.Transport.Keys() {
		if f.shows(k.Key) {
			s.Keys = append(s.Keys, h.keyState(k, now))
		}
	}
	slices.SortFunc(s.Keys, func(a, b KeyState) int {
		return cmp.Or(cmp.Compare(b.Waiters, a.Waiters), b.Until.Compare(a.Until), cmp.Compare(a.Key, b.Key))
	})
	s.KeysTotal = len(s.Keys)
	s.Keys = s.Keys[:min(f.limit, len(s.Keys))]
	for i := range s.Keys {
		s.Keys[i].History = h.history.of(s.Keys[i].Key)
	}
	if h.Lot == nil {
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	parked, total, err := h.Lot.List(ctx, parkedLimit)
	if err != nil {
		s.ParkedError = "the parked requests can't be reached at present"
		return s
	}
	s.Parked, s.ParkedTotal = parked, total
	for i := range s.Parked {
		s.Parked[i].Parked = s.Parked[i].Parked.Round(time.Second)
	}
	if f.host != "" {
		s.Parked = slices.DeleteFunc(s.Parked, func(p Summary) bool { return !f.shows(p.Key) })
	}
	return s
}

// still is s without what passes by itself: a page counts time down alone.
func (s State) still() []byte {
	s.Time = time.Time{}
	s.Keys = slices.Clone(s.Keys)
	for i := range s.Keys {
		s.Keys[i].Left, s.Keys[i].Words = 0, ""
	}
	b, _ := json.Marshal(s) // of strings, numbers and times
	return b
}

func (h *Handler) keyState(k holdoff.KeyState, now time.Time) KeyState {
	s := KeyState{
		Key: k.Key, Phase: k.Phase.String(), Attempts: k.Attempts, Last: k.Last.Round(0), Status: k.Status,
		Level: k.Level, Witnesses: k.Witnesses, Waiters: k.Waiters, Shared: k.Shared, Word: k.Word,
		Told: k.Shared && !k.Witness, History: []Interval{},
	}
	if k.Phase != holdoff.Healthy {
		// In steps, so that what has not changed looks the same.
		s.Until = k.Until.Round(0).Round(50 * time.Millisecond)
		s.Left = max(k.Until.Sub(now), 0).Milliseconds()
		if from := h.history.since(k.Key); k.Phase == holdoff.Held && !from.IsZero() {
			s.Hold = k.Until.Round(0).Sub(from).Milliseconds()
		}
	}
	s.Words = words(s)
	return s
}

// words says how a key stands, for whoever asks why nothing is being sent.
func words(s KeyState) string {
	var b strings.Builder
	switch s.Phase {
	case "held":
		fmt.Fprintf(&b, "held for %s more", left(s.Left))
	case "probing":
		b.WriteString("one request is trying whether it is well")
	case "ramping":
		b.WriteString("coming back: permits grow until demand is met")
	default:
		b.WriteString("open, and failing")
	}
	var why []string
	switch {
	case s.Status != 0:
		why = append(why, strings.TrimSpace(fmt.Sprintf("%d %s", s.Status, http.StatusText(s.Status))))
	case s.Attempts > 0:
		why = append(why, "no response")
	}
	if s.Phase == "held" && s.Word {
		why = append(why, "the server asked for it")
	}
	if s.Told {
		why = append(why, "told by another replica")
	}
	if len(why) > 0 {
		b.WriteString(": " + strings.Join(why, ", "))
	}
	return b.String()
}

// left is a duration in milliseconds as people say it.
func left(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	if d < 2*time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// ago is how long ago t was.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return left(max(now.Sub(t), 0).Milliseconds()) + " ago"
}
