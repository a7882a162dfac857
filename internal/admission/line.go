package admission

import (
	"slices"
	"time"

	limits "github.com/go-holdoff/holdoff/internal/limit"
)

// The line of a ledger: who is next, how long the wait is, and who waits in vain.

func (l *Ledger) remove(d *Draft) {
	if i := slices.Index(l.line, d); i >= 0 {
		l.line = slices.Delete(l.line, i, i+1)
	}
}

// release sends those that wait and have now what they cost, in their order. What is
// missing to one of them is claimed: those behind it take none of that, so a large
// request is not overtaken by small ones. Then it sets the timer for the next look.
func (l *Ledger) release(now time.Time) {
	if len(l.line) == 0 {
		return
	}
	l.clearClaims()
	next := time.Duration(-1)
	look := func(d *Draft) (gone bool) {
		if l.try(d, now) {
			l.left++
			close(d.ready)
			return true
		}
		wait := l.wait(d, now)
		if l.granted(d) && now.Add(wait).After(d.Latest) {
			d.held = l.rejection(d, now)
			d.held.Until = now.Add(wait)
			close(d.ready)
			return true
		}
		if next < 0 || wait < next {
			next = wait
		}
		for i := range d.group.draws {
			of, cost := &d.group.draws[i], d.cost(i)
			switch {
			case !l.shared(of, cost, now):
			case of.credit.left >= (of.claimed+cost)*enough:
				of.covered++
			default:
				of.asks++
			}
			of.claimed += cost
		}
		return false
	}
	var first *Draft
	if l.left%floor == floor-1 {
		first = slices.MinFunc(l.line, func(a, b *Draft) int { return a.arrived.Compare(b.arrived) })
		if look(first) {
			l.remove(first)
			first = nil
		}
	}
	kept, walked := l.line[:0], 0
	for _, d := range l.line {
		walked++
		if d == first || walked > maxWalk || !look(d) {
			kept = append(kept, d)
		}
	}
	clear(l.line[len(kept):])
	l.line = kept
	l.ask(now)
	l.setTimer(next)
}

func (l *Ledger) clearClaims() {
	for _, e := range l.entries {
		e.claimed, e.asks, e.covered = 0, 0, 0
	}
}

func (l *Ledger) setTimer(next time.Duration) {
	switch {
	case len(l.line) == 0 || next < 0:
		if l.timer != nil {
			l.timer.Stop()
		}
	case l.timer == nil:
		l.timer = time.AfterFunc(next, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.release(time.Now())
		})
	default:
		l.timer.Reset(next)
	}
}

// wait returns how long it is until the limits have what a request costs, behind what is
// claimed.
func (l *Ledger) wait(d *Draft, now time.Time) (longest time.Duration) {
	for i := range d.group.draws {
		of, cost := &d.group.draws[i], d.cost(i)
		if l.shared(of, cost, now) {
			if !l.ready(of, cost, now) {
				longest = max(longest, of.credit.until(cost+of.claimed, now))
			}
			continue
		}
		longest = max(longest, of.Wait(cost, of.claimed, now))
	}
	return longest
}

// granted reports whether the fleet has granted all that a request waits for: when it
// goes is known.
func (l *Ledger) granted(d *Draft) bool {
	any := false
	for i := range d.group.draws {
		if of := &d.group.draws[i]; of.credit.left > 0 {
			if of.credit.left < (of.claimed+d.cost(i))*enough {
				return false
			}
			any = true
		}
	}
	return any
}

// tooLate returns why a request that has just joined the line is certain to wait for
// longer than it can, and nil where it is not.
func (l *Ledger) tooLate(d *Draft, now time.Time) *Rejection {
	ahead := slices.Index(l.line, d)
	if ahead >= maxWalk {
		return nil
	}
	for i := range d.group.draws {
		of, cost, claimed := &d.group.draws[i], d.cost(i), 0.0
		for _, other := range l.line[:ahead] {
			for j := range other.group.draws {
				if other.group.draws[j].entry == of.entry {
					claimed += other.cost(j)
				}
			}
		}
		if now.Add(of.Soonest(cost, claimed, now)).After(d.Latest) {
			return l.rejection(d, now)
		}
	}
	return nil
}

// rejection says which limit holds a request the longest.
func (l *Ledger) rejection(d *Draft, now time.Time) *Rejection {
	r := &Rejection{Key: l.key, Scope: d.group.scope, Until: now, RestOpen: true}
	for i := range d.group.draws {
		of := &d.group.draws[i]
		wait := of.Wait(d.cost(i), 0, now)
		if wait >= limits.Forever {
			wait = max(d.Latest.Sub(now), 0) // it is not known when
		}
		if until := now.Add(wait); until.After(r.Until) {
			r.Until, r.Limit = until, of.Name
		}
	}
	return r
}
