package admission

import (
	"cmp"
	"context"
	"slices"
	"time"

	limits "github.com/go-holdoff/holdoff/internal/limit"
	"github.com/go-holdoff/holdoff/internal/scope"
)

const (
	// head is how much a request of a priority is ahead of those of the next lower one: as
	// if it had come so much earlier. What has waited longer than that is older than
	// anything new.
	head = time.Minute
	// floor is how often the request that came first goes first, whatever its priority
	// is: one time in ten.
	floor = 10
	// maxWalk bounds the requests in the line that are looked at when something changes.
	maxWalk = 512
)

// A Draft is what one request draws on the limits of its point. The ledger's lock guards
// what is not exported.
type Draft struct {
	Cost     map[string]float64 // as its caller says it, by the names of limits; may be nil
	Priority int                // the higher goes first
	Latest   time.Time          // when it stops waiting

	group   *group
	of      *group // whose least is
	arrived time.Time
	least   []float64     // what it costs at least, by the place in the group
	drawn   []float64     // what was drawn; empty while nothing is
	marks   []limits.Mark // of what was drawn
	places  []float64     // likewise, among what the fleet drew; negative where it has none
	trial   bool          // it was sent although a limit had not what it costs
	ready   chan struct{} // closed when it has drawn, or is held; nil while it was never in the line
	held    *Rejection
}

// Next returns the draft of a request's next attempt, after d, which is nil for the first
// one. It costs at least what a refusal has shown.
func (d *Draft) Next(cost map[string]float64, priority int) *Draft {
	next := &Draft{Cost: cost, Priority: priority}
	if d != nil {
		next.least, next.of = d.least, d.group
	}
	return next
}

// mark returns the mark of a limit, or zero where the request did not draw on it.
func (d *Draft) mark(i int) limits.Mark {
	if i < len(d.marks) {
		return d.marks[i]
	}
	return limits.Mark{}
}

func (d *Draft) rank() time.Time { return d.arrived.Add(-time.Duration(d.Priority) * head) }

// Enqueue draws what a request from a point costs, refuses it with a *Rejection where
// its patience cannot suffice, or puts it in the line: then it must Wait.
func (l *Ledger) Enqueue(d *Draft, at scope.Scope) (inLine bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	d.group, d.arrived = l.group(at), now
	if d.of != d.group {
		d.least = nil
	}
	if len(d.group.draws) == 0 {
		return false, nil
	}
	if len(l.line) == 0 {
		l.clearClaims()
		if l.try(d, now) {
			return false, nil
		}
	}
	d.ready = make(chan struct{})
	i, _ := slices.BinarySearchFunc(l.line, d, func(a, b *Draft) int {
		return cmp.Or(a.rank().Compare(b.rank()), -1) // behind its equals
	})
	l.line = slices.Insert(l.line, i, d)
	l.release(now)
	select {
	case <-d.ready:
		return false, d.outcome()
	default:
	}
	if r := l.tooLate(d, now); r != nil {
		l.remove(d)
		l.release(now)
		return false, r
	}
	return true, nil
}

// Again draws what a request costs that gave it back a while ago, to wait for a gate: it
// has waited for the limits already.
func (l *Ledger) Again(d *Draft) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draw(d, time.Now())
}

// Return gives back what a request drew that is not sent.
func (l *Ledger) Return(d *Draft) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.undo(d, now)
	l.release(now)
	l.keep(now)
}

func (l *Ledger) undo(d *Draft, now time.Time) {
	for i, m := range d.marks {
		of := &d.group.draws[i]
		of.Return(m, d.drawn[i], now)
		of.settle(-d.drawn[i], d.places[i], now)
	}
	d.drawn, d.marks, d.places = d.drawn[:0], d.marks[:0], d.places[:0]
}

// Done says that the request is over: what it took of limits of what goes on at once is
// free again.
func (l *Ledger) Done(d *Draft) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for i, m := range d.marks {
		if of := &d.group.draws[i]; of.Concurrent() {
			of.Return(m, d.drawn[i], now)
			d.drawn[i] = 0
		}
	}
	l.release(now)
}

// Concurrent reports whether requests must say when they are over.
func (l *Ledger) Concurrent() bool { return l.concurrent }

// Wait waits until the request has drawn what it costs, its patience is over, or ctx
// ends: with deadline, the two are one. The error is a *Rejection or the context's.
func (l *Ledger) Wait(ctx context.Context, d *Draft, deadline bool) error {
	var over <-chan time.Time
	if !deadline {
		timer := time.NewTimer(time.Until(d.Latest))
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-d.ready:
		return d.outcome()
	case <-ctx.Done():
	case <-over:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-d.ready: // at this moment
		if ctx.Err() == nil {
			return d.outcome()
		}
		l.undo(d, time.Now())
	default:
	}
	now := time.Now()
	r := l.rejection(d, now)
	l.remove(d)
	l.release(now)
	if err := ctx.Err(); err != nil {
		return err
	}
	return r
}

func (d *Draft) outcome() error {
	if d.held != nil {
		return d.held
	}
	return nil
}

func (l *Ledger) remove(d *Draft) {
	if i := slices.Index(l.line, d); i >= 0 {
		l.line = slices.Delete(l.line, i, i+1)
	}
}

// try draws what a request costs if every limit has it.
func (l *Ledger) try(d *Draft, now time.Time) bool {
	trial := false
	for i := range d.group.draws {
		of, cost := &d.group.draws[i], d.cost(i)
		switch {
		case l.ready(of, cost, now):
		case of.claimed == 0 && !l.shared(of, cost, now) && of.Try(cost, now):
			trial = true
		default:
			return false
		}
	}
	d.trial = trial
	l.draw(d, now)
	return true
}

// sure reports whether what a request draws on a limit is more than a guess.
func (d *Draft) sure(i int) bool {
	of := &d.group.draws[i]
	_, said := d.Cost[of.Name]
	return said || of.measured || of.Name == Requests
}

func (l *Ledger) draw(d *Draft, now time.Time) {
	d.drawn, d.marks, d.places = d.drawn[:0], d.marks[:0], d.places[:0]
	for i := range d.group.draws {
		cost := d.cost(i)
		d.drawn = append(d.drawn, cost)
		d.places = append(d.places, l.spend(&d.group.draws[i], cost, now))
		d.marks = append(d.marks, d.group.draws[i].Draw(cost, d.sure(i), now))
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

func compareScopes(a, b scope.Scope) int {
	return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Credential, b.Credential))
}
