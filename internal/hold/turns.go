package hold

import (
	"slices"
	"time"
)

const (
	// gatherShare is the share of a wait for which a replica gathers requests before
	// they join the line together: so much may they be late for their place.
	gatherShare = 0.1
	// early is how long before its time a place in line counts: clocks tick in ms.
	early = 5 * time.Millisecond
)

// Turns are what a replica knows of the schedule of a paced scope: the turns that it
// has, its places in line, and how long the line is. A copy is a snapshot. The zero
// value has none.
type Turns struct {
	due  []time.Time // when the turns come that it has, soonest first
	line []place
	rate float64   // sends per second, as it was last told
	tail time.Time // when a turn comes for who joins the line now
	told time.Time // when it was told so
	full bool      // the line had no place for some
}

// A place in line is of n requests, which ask for turns at a time.
type place struct {
	ask time.Time
	n   int
}

// Take uses the turn that is due. A turn that was not used in time lapses: many that
// were late would come at once.
func (t *Turns) Take(now time.Time) bool {
	late := max(Slot, t.gap())
	for len(t.due) > 0 && now.Sub(t.due[0]) > late {
		t.due = t.due[1:]
	}
	if len(t.due) == 0 || now.Before(t.due[0]) {
		return false
	}
	t.due = t.due[1:]
	return true
}

// Next returns when the next turn comes, if it has any.
func (t *Turns) Next() (at time.Time, ok bool) {
	if len(t.due) == 0 {
		return time.Time{}, false
	}
	return t.due[0], true
}

// Ask returns when to ask for turns on behalf of so many requests, if at all.
func (t *Turns) Ask(waiting int, now time.Time) (at time.Time, ok bool) {
	placed := t.trim(waiting)
	if placed > 0 {
		at, ok = t.line[0].ask, true
	}
	if waiting <= len(t.due)+placed {
		return at, ok
	}
	gather := early
	if t.full {
		gather = Slot
	}
	join := later(now, t.told.Add(gather))
	if wait := t.tail.Sub(now); wait > 0 {
		join = later(join, now.Add(min(time.Duration(gatherShare*float64(wait)), aheadTime)))
	}
	if !ok || join.Before(at) {
		at = join
	}
	return at, true
}

// Want returns for how many of so many requests to ask, and how many of them stand in
// line already and may ask by now.
func (t *Turns) Want(waiting int, now time.Time) (want, placed int) {
	inLine := t.trim(waiting)
	for _, p := range t.line {
		if !p.ask.After(now.Add(early)) {
			placed += p.n
		}
	}
	fresh := max(waiting-len(t.due)-inLine, 0)
	return placed + fresh, placed
}

// Held returns how many requests have a turn or a place in line.
func (t *Turns) Held() int {
	n := len(t.due)
	for _, p := range t.line {
		n += p.n
	}
	return n
}

// trim gives up the last places in line for which no request waits any more, and
// returns how many are left.
func (t *Turns) trim(waiting int) (placed int) {
	room := max(waiting-len(t.due), 0)
	for i, p := range t.line {
		if placed+p.n >= room {
			t.line = slices.Clone(t.line[:i+1])
			t.line[i].n = room - placed
			if t.line[i].n == 0 {
				t.line = t.line[:i]
			}
			return room
		}
		placed += p.n
	}
	return placed
}

// Add takes in what the store answered to a replica that wanted turns for so many
// requests, of which some stood in line.
func (t *Turns) Add(want, placed int, s Snapshot, now time.Time) {
	t.rate, t.tail, t.told, t.full = s.Rate, s.Tail, now, max(want-placed, 0) > max(s.Permits-placed, 0)+s.Joined
	gap, n := t.gap(), max(s.Permits, 0)
	due := slices.Clip(t.due)
	for i := range min(n, MaxReported) {
		due = append(due, s.First.Add(time.Duration(i)*gap))
	}
	t.due = due
	line, left := []place(nil), placed
	for _, p := range t.line { // those that have asked, the first ones first
		asked := min(p.n, left)
		if left -= asked; p.n > asked {
			line = append(line, place{p.ask, p.n - asked})
		}
	}
	least := time.Time{}
	if s.Phase == Rationed && n < want {
		least = s.Until // its share of the quota is used up
	}
	if again := placed - n; again > 0 { // half of what the schedule has is over by then
		at := s.First.Add(time.Duration(n)*gap - ahead(gap)/2)
		line = append([]place{{later(at, least), again}}, line...)
	}
	if s.Joined > 0 {
		at := s.Tail.Add(-time.Duration(s.Joined)*gap - ahead(gap))
		line = append(line, place{later(at, least), s.Joined})
	}
	t.line = line
}

// Retime moves what is not yet due to where it is at another rate.
func (t *Turns) Retime(rate float64, now time.Time) {
	if t.rate > 0 && rate > 0 && rate != t.rate {
		factor := t.rate / rate
		move := func(at time.Time) time.Time {
			if ahead := at.Sub(now); ahead > 0 {
				return now.Add(time.Duration(min(float64(ahead)*factor, float64(maxMicros))))
			}
			return at
		}
		t.due, t.line = slices.Clone(t.due), slices.Clone(t.line)
		for i := range t.due {
			t.due[i] = move(t.due[i])
		}
		for i := range t.line {
			t.line[i].ask = move(t.line[i].ask)
		}
		t.tail = move(t.tail)
	}
	t.rate = rate
}

// Expect returns when a turn comes for the last of so many requests, if that is known:
// as it was told at most so long ago as turns are handed out ahead.
func (t *Turns) Expect(waiting int, now time.Time) (at time.Time, ok bool) {
	fresh := waiting - t.Held()
	if fresh <= 0 || t.told.IsZero() || now.Sub(t.told) > aheadTime {
		return time.Time{}, false
	}
	at = t.tail
	if at.Before(now) {
		at = now
	}
	return at.Add(time.Duration(fresh-1) * t.gap()), true
}

func (t *Turns) gap() time.Duration {
	return time.Duration(float64(time.Second) / max(t.rate, minRate))
}
