package retryapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff"
)

// State is the answer to GET /state: the state of every key, of the store and of parked requests. Its parameters are
// host, a part of the keys to show, and limit, how many of them (at most 1,000;
// 200 if it is left out).
type State struct {
	// Time is when the state was taken: at most half a second ago.
	Time time.Time `json:"time"`
	// Store is the health of the store; it is left out where there is none.
	Store *StoreState `json:"store,omitempty"`
	// Totals are of all keys, whatever the parameters are.
	Totals Totals `json:"totals"`
	// Keys are those that are held or failing: first those for which most
	// requests wait, then the longest held.
	Keys []KeyState `json:"keys"`
	// KeysTotal is how many match the filter, of which Keys may be a part.
	KeysTotal int `json:"keysTotal"`
	// Parked are the requests that were given up, the latest first: at most 200,
	// and of the latest 1,000 where there is a filter.
	Parked []Summary `json:"parked"`
	// ParkedTotal is how many there are in all, whatever the filter is.
	ParkedTotal int `json:"parkedTotal"`
	// ParkedError says why Parked can't be shown.
	ParkedError string `json:"parkedError,omitempty"`

	Host  string `json:"host,omitempty"` // the filter
	Limit int    `json:"limit"`
}

// Totals counts keys by their state.
type Totals struct {
	Keys       int `json:"keys"`
	Held       int `json:"held"`
	Recovering int `json:"recovering"` // the hold is over, and the key is not healthy yet
	Paced      int `json:"paced"`      // limited to what the server accepts, or to what remains of a quota
	Failing    int `json:"failing"`    // requests are sent, and fail
	Waiters    int `json:"waiters"`    // requests of this process
}

// StoreState is the health of a store.
type StoreState struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
	// Since is when it began to fail; it is left out where that is not known.
	Since time.Time `json:"since,omitzero"`
}

// KeyState is the state of one key.
type KeyState struct {
	Key   string `json:"key"`
	Phase string `json:"phase"` // that of holdoff.Phase, in words
	// Rate is how many requests per second all replicas send to a paced or
	// rationed key.
	Rate float64 `json:"rate,omitempty"`
	// Until is when the hold, the probe's lease or the ramp's slot ends, and
	// Left how much of it was left at State.Time, in milliseconds.
	Until time.Time `json:"until,omitzero"`
	Left  int64     `json:"left"`
	// Hold is how long the hold is in all, in milliseconds; 0 where it is not
	// known.
	Hold           int64      `json:"hold,omitempty"`
	Attempts       int        `json:"attempts"`
	Last           time.Time  `json:"last,omitzero"`
	Status         int        `json:"status,omitempty"`
	Level          int        `json:"level"`
	Witnesses      int        `json:"witnesses"`
	Waiters        int        `json:"waiters"`
	Shared         bool       `json:"shared"`         // the store says so
	Told           bool       `json:"told"`           // by another replica: this one has met no failure
	ServerDirected bool       `json:"serverDirected"` // the server asked for it
	History        []Interval `json:"history"`
	Words          string     `json:"words"` // all that in a sentence
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

func (t *Totals) add(k holdoff.KeyState, now time.Time) {
	t.Keys++
	t.Waiters += k.Waiters
	switch {
	case k.Phase == holdoff.Held && k.Until.After(now):
		t.Held++
	case k.Phase == holdoff.Paced || k.Phase == holdoff.Rationed:
		t.Paced++
	case k.Phase != holdoff.Healthy && k.Phase != holdoff.Counted:
		t.Recovering++
	case k.Attempts > 0:
		t.Failing++
	}
}

func (h *Handler) keyState(k holdoff.KeyState, now time.Time) KeyState {
	s := KeyState{
		Key: k.Scope.Of(k.Key), Phase: k.Phase.String(), Attempts: k.Attempts, Last: k.Last.Round(0), Status: k.Status,
		Level: k.Level, Witnesses: k.Witnesses, Waiters: k.Waiters, Shared: k.Shared, ServerDirected: k.ServerDirected,
		Told: k.Shared && !k.Witness, History: []Interval{},
	}
	if k.Phase == holdoff.Paced || k.Phase == holdoff.Rationed {
		s.Rate = k.Rate
	}
	if k.Phase != holdoff.Healthy {
		// In steps, so that what has not changed looks the same.
		s.Until = k.Until.Round(0).Round(50 * time.Millisecond)
		s.Left = max(k.Until.Sub(now), 0).Milliseconds()
		if from := h.history.since(k.Scope.Of(k.Key)); k.Phase == holdoff.Held && !from.IsZero() {
			s.Hold = k.Until.Round(0).Sub(from).Milliseconds()
		}
	}
	return s
}

// words says in a sentence why requests to a key are sent or not.
func words(s KeyState) string {
	if why := why(s); why != "" {
		return stands(s) + ": " + why
	}
	return stands(s)
}

func stands(s KeyState) string {
	switch s.Phase {
	case "held":
		if s.Left == 0 {
			// No request has asked for a permit since.
			return "the hold is over; the next request is the probe"
		}
		return fmt.Sprintf("held for %s more", left(s.Left))
	case "probing":
		return "one trial request is in progress"
	case "ramping":
		return "recovering: more requests are sent step by step"
	case "counted":
		return "all requests are sent, and its capacity is measured"
	case "paced":
		return fmt.Sprintf("limited to what it accepts, %.3g requests per second", s.Rate)
	case "rationed":
		return fmt.Sprintf("spreading a quota, %.3g requests per second", s.Rate)
	}
	if s.Attempts == 0 {
		return "healthy"
	}
	return "failing, but requests are sent"
}

func why(s KeyState) string {
	var why []string
	switch {
	case s.Status != 0:
		why = append(why, strings.TrimSpace(fmt.Sprintf("%d %s", s.Status, http.StatusText(s.Status))))
	case s.Attempts > 0:
		why = append(why, "no response")
	}
	if s.Phase == "held" && s.ServerDirected {
		why = append(why, "the server asked for it")
	}
	if s.Told {
		why = append(why, "reported by another replica")
	}
	return strings.Join(why, ", ")
}

// left is a duration in milliseconds as people say it. The page's script has the same
// function.
func left(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 10*time.Minute:
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}
