package hold

import (
	"slices"
	"time"
)

const (
	// gatherShare is the share of a wait for which a replica gathers requests before it
	// asks for their turns together: by so much others may overtake them.
	gatherShare = 0.1
	// gatherMost and gatherLeast bound that.
	gatherMost  = time.Second
	gatherLeast = 5 * time.Millisecond
)

// Turns are what a replica knows of the schedule of a paced scope: the turns that it
// has, and how long the line is. The zero value has none.
type Turns struct {
	runs  []run // soonest first
	n     int   // turns in all of them
	rate  float64
	tail  time.Time     // when a turn comes for who asks next
	told  time.Time     // when the replica was told so
	again time.Duration // how long after that it may ask again
}

// A run is n turns one after another.
type run struct {
	at time.Time // of the first
	n  int
}

// Len returns how many turns the replica has.
func (t *Turns) Len() int { return t.n }

// Next returns when the next turn comes, if there is one.
func (t *Turns) Next() (at time.Time, ok bool) {
	if len(t.runs) == 0 {
		return time.Time{}, false
	}
	return t.runs[0].at, true
}

// Take uses the turn that is due. A turn that was not used in time lapses: many that
// were late would come at once.
func (t *Turns) Take(now time.Time) bool {
	late := now.Add(-max(Slot, t.gap()))
	for t.n > 0 && t.runs[0].at.Before(late) {
		t.drop()
	}
	if t.n == 0 || now.Before(t.runs[0].at) {
		return false
	}
	t.drop()
	return true
}

// drop drops the first turn.
func (t *Turns) drop() {
	t.n--
	if first := &t.runs[0]; first.n > 1 {
		first.n--
		first.at = first.at.Add(t.gap())
		return
	}
	t.runs = t.runs[1:]
}

// Ask returns when to ask for turns, where so many requests wait.
func (t *Turns) Ask(waiting int, now time.Time) (at time.Time, ok bool) {
	if waiting <= t.n {
		return time.Time{}, false
	}
	gather := min(max(time.Duration(gatherShare*float64(t.tail.Sub(now))), 0), gatherMost)
	return later(now.Add(gather), t.told.Add(t.again)), true
}

// Add takes in what the store answered to a replica that wanted so many turns.
func (t *Turns) Add(want int, s Snapshot, now time.Time) {
	t.Retime(s.Rate, now)
	n := within(s.Permits, MaxReported)
	t.told, t.again = now, gatherLeast
	if n < want {
		t.again = gatherMost / 2 // a quota is handed out, or no request would wait so long: what changes that is published
	}
	t.tail = s.First.Add(time.Duration(n) * t.gap())
	if n == 0 {
		return
	}
	t.n += n
	i, _ := slices.BinarySearchFunc(t.runs, s.First, func(r run, at time.Time) int { return r.at.Compare(at) })
	t.runs = slices.Insert(t.runs, i, run{s.First, n})
}

// Share returns the share of the schedule until then that the replica has.
func (t *Turns) Share(then, now time.Time) float64 {
	all := then.Sub(now).Seconds() * t.rate
	if all < 1 {
		return 1
	}
	own := 0
	for _, r := range t.runs {
		if ahead := then.Sub(r.at); ahead > 0 {
			own += min(r.n, int(ahead/t.gap())+1)
		}
	}
	return float64(own) / all
}

// Retime moves what is not yet due to where it is at another rate.
func (t *Turns) Retime(rate float64, now time.Time) {
	if t.rate > 0 && rate > 0 && rate != t.rate {
		move := func(at time.Time) time.Time {
			ahead := max(at.Sub(now), 0)
			if ahead == 0 {
				return at
			}
			return now.Add(time.Duration(min(float64(ahead)*t.rate/rate, float64(maxMicros))))
		}
		for i := range t.runs {
			t.runs[i].at = move(t.runs[i].at)
		}
		t.tail = move(t.tail)
	}
	t.rate = rate
}

// At returns when the n-th turn from now comes, if that is known: one that the replica
// has, or would have if it asked.
func (t *Turns) At(n int, now time.Time) (at time.Time, known bool) {
	for _, r := range t.runs {
		if n <= r.n {
			return r.at.Add(time.Duration(n-1) * t.gap()), true
		}
		n -= r.n
	}
	if t.told.IsZero() || now.Sub(t.told) > gatherMost {
		return time.Time{}, false
	}
	return later(t.tail, now).Add(time.Duration(n-1) * t.gap()), true
}

func (t *Turns) gap() time.Duration {
	return time.Duration(float64(time.Second) / max(t.rate, minRate))
}
