package retryapi

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/go-holdoff/holdoff"
)

//go:embed page
var files embed.FS

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"left": left, "ago": ago,
}).ParseFS(files, "page/page.html"))

// view is what the page shows: the state, and what it comes to in words. The
// page is rendered from it, and its script gets it as JSON.
type view struct {
	State
	Keys   []keyView    `json:"keys"`
	Parked []parkedView `json:"parked"`

	Verdict     string `json:"verdict"`
	Mood        string `json:"mood"` // well, failing or held
	StoreWords  string `json:"storeWords"`
	KeysShown   string `json:"keysShown"`
	ParkedShown string `json:"parkedShown"`

	HasLot  bool        `json:"-"`
	NewKey  *keyView    `json:"-"` // for what the script adds
	Blank   *parkedView `json:"-"`
	Choices []int       `json:"-"` // of limits
}

type keyView struct {
	KeyState
	Stands string `json:"stands"` // with Why, the state's Words
	Why    string `json:"why"`
	Recent string `json:"recent"` // History in words
	Bars   []bar  `json:"-"`
	Part   int64  `json:"-"` // of the hold is left, in thousandths

	now time.Time
}

type parkedView struct {
	Summary
	Words  string `json:"words"`
	Length string `json:"length"` // of the body, in words

	now time.Time
}

// Now is the time that the view is of.
func (k keyView) Now() time.Time    { return k.now }
func (p parkedView) Now() time.Time { return p.now }

// view says in words what a state comes to.
func (h *Handler) view(s State, f filter) view {
	v := view{
		State: s, HasLot: h.Lot != nil, NewKey: &keyView{}, Blank: &parkedView{},
		Keys: []keyView{}, Parked: []parkedView{}, Choices: []int{50, defaultLimit, maxLimit},
	}
	if !slices.Contains(v.Choices, f.limit) {
		v.Choices = append(v.Choices, f.limit)
		slices.Sort(v.Choices)
	}
	for _, k := range v.State.Keys {
		row := keyView{KeyState: k, Stands: stands(k), Why: why(k), Recent: recent(k.History, v.Time), Bars: chart(k.History, v.Time), now: v.Time}
		if k.Hold > 0 {
			row.Part = min(k.Left*1000/k.Hold, 1000)
		}
		v.Keys = append(v.Keys, row)
	}
	for _, p := range v.State.Parked {
		v.Parked = append(v.Parked, parkedView{Summary: p, Words: parkedWords(p), Length: size(p.Size), now: v.Time})
	}
	v.Verdict, v.Mood = verdict(v.Totals)
	v.StoreWords = storeWords(v.Store)
	v.KeysShown = shown(len(v.Keys), v.KeysTotal, v.Totals.Keys, f)
	v.ParkedShown = shown(len(v.Parked), len(v.Parked), v.ParkedTotal, f)
	return v
}

// still is v without what passes by itself: a page counts time down alone.
func (v view) still() []byte {
	v.Time = time.Time{}
	v.Keys = slices.Clone(v.Keys)
	for i := range v.Keys {
		k := &v.Keys[i]
		k.Left = min(k.Left, 1) // whether the hold is over
		k.Words, k.Stands, k.Recent = "", "", ""
	}
	b, _ := json.Marshal(v) // of strings, numbers and times
	return b
}

// servePage answers GET / with the whole state, readable without JavaScript.
func (h *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	var out bytes.Buffer
	if err := page.Execute(&out, h.view(h.state(r), filterOf(r))); err != nil {
		h.log().Error("the page could not be rendered", zap.Error(err))
		(&problem{Status: http.StatusInternalServerError, Detail: "the page could not be rendered"}).write(w)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(out.Bytes())
}

// count is n with its noun and verb, as people say it.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// verdict says how everything stands in one line.
func verdict(t Totals) (words, mood string) {
	var parts []string
	named := false
	noun := func(n int, one, many string) {
		if n == 0 {
			return
		}
		if !named {
			one, many = "key "+one, "keys "+many
			named = true
		}
		parts = append(parts, count(n, one, many))
	}
	noun(t.Held, "is held", "are held")
	mood = "held"
	if t.Held == 0 {
		parts, mood = []string{"Nothing is held"}, "failing"
	}
	noun(t.Recovering, "is recovering", "are recovering")
	noun(t.Paced, "is paced", "are paced")
	noun(t.Failing, "is failing", "are failing")
	if t.Held+t.Recovering+t.Paced+t.Failing == 0 {
		mood = "well"
	}
	words = strings.Join(parts, ", ")
	if t.Waiters > 0 {
		words += "; " + count(t.Waiters, "request waits", "requests wait")
	}
	return words + ".", mood
}

func storeWords(s *StoreState) string {
	switch {
	case s == nil:
		return "There is no store: this replica decides alone."
	case s.OK:
		return "The store works: holds are shared with the other replicas."
	case s.Since.IsZero():
		return "The store is unreachable; this replica decides alone: " + s.Error
	}
	return fmt.Sprintf("The store is unreachable since %s UTC; this replica decides alone: %s", s.Since.UTC().Format(time.TimeOnly), s.Error)
}

// shown says what part of a list is to be seen: n of those that match, of all.
func shown(n, match, all int, f filter) string {
	switch {
	case f.host != "" && n < match:
		return fmt.Sprintf("showing %d of %d that match, of %d in all", n, match, all)
	case f.host != "" || n < all:
		return fmt.Sprintf("showing %d of %d", n, all)
	}
	return fmt.Sprint(all)
}

// parkedWords says how a parked request came to be here.
func parkedWords(p Summary) string {
	var b strings.Builder
	switch holdoff.Ending(p.Ended) {
	case holdoff.EndAttempts:
		b.WriteString("all attempts failed")
	case holdoff.EndBudget:
		b.WriteString("the retry budget was used up")
	case holdoff.EndWait:
		b.WriteString("the next wait was too long")
	case holdoff.EndHeld:
		b.WriteString("held for longer than it could wait")
	default:
		b.WriteString(cmp.Or(p.Ended, "given up"))
	}
	switch {
	case p.Status != 0:
		b.WriteString("; last: " + strings.TrimSpace(fmt.Sprintf("%d %s", p.Status, http.StatusText(p.Status))))
	case p.Error != "":
		b.WriteString("; last: " + p.Error)
	}
	return b.String()
}

// bar is one interval of a chart that is as wide as historySpan has seconds.
type bar struct{ X, Width float64 }

// least is how wide a bar is at least, to be seen.
const least = 4

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
		x := max(i.From.Sub(begin).Seconds(), 0)
		width := max(to.Sub(begin).Seconds()-x, least)
		bars = append(bars, bar{X: min(x, historySpan.Seconds()-least), Width: width})
	}
	return bars
}

// recent is the history of a key in words.
func recent(list []Interval, now time.Time) string {
	var sum time.Duration
	for _, i := range list {
		to := i.To
		if to.IsZero() {
			to = now
		}
		begin := now.Add(-historySpan)
		if i.From.After(begin) {
			begin = i.From
		}
		sum += max(to.Sub(begin), 0)
	}
	if len(list) == 0 {
		return "no hold in the last ten minutes"
	}
	return fmt.Sprintf("%s in the last ten minutes, %s in all", count(len(list), "hold", "holds"), left(sum.Milliseconds()))
}

// ago says how long ago t was. The page's script has the same function.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "–"
	case d < time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	}
	return fmt.Sprintf("%d min ago", d/time.Minute)
}

// size is a number of bytes as people say it.
func size(n int) string {
	switch {
	case n == 0:
		return "no body"
	case n < 1<<10:
		return count(n, "byte", "bytes")
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
