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

func compareScopes(a, b scope.Scope) int {
	return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Credential, b.Credential))
}
