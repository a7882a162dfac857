package admission

import (
	"context"
	"time"

	limits "github.com/go-holdoff/holdoff/internal/limit"
)

// How a fleet shares out a limit that is nearly used up. A replica asks the store for what
// the requests in its line cost, in one call for all of them; it is granted, from some
// time on, and those requests are sent as their part of it falls due.

// A LimitStore is a Store that also shares out limits.
type LimitStore interface {
	Draw(ctx context.Context, name string, c limits.Claim) (limits.Grant, error)
}

const (
	// askTime bounds a call of the store.
	askTime = time.Second
	// askAgain is for how long a replica continues alone after the store has failed.
	askAgain = time.Second
	// keepCredit is how long a replica keeps what it was granted and has no use for.
	keepCredit = 250 * time.Millisecond
	// askAhead is how long before its last grant falls due a replica asks for more, at the
	// latest: before that, once as many requests have nothing as have a grant.
	askAhead = 100 * time.Millisecond
)

// credit is what the fleet has granted of one limit, and was not used yet.
type credit struct {
	grants []grant
	left   float64 // of all grants
	asking bool
	alone  time.Time // until then, the store is not asked
	used   time.Time // when it was last of use
	owed   float64   // what requests cost beyond what was asked for
	said   float64   // what an answer said to remain when its request was sent
	mark   float64   // the place of that request
	saidAt time.Time
}

// A grant falls due at a rate, until its end; at rate 0 at its end.
type grant struct {
	amount, rate float64
	end          time.Time
	drawn        float64 // by the whole fleet, with this; 0: its place is not known
}

// due returns how much of the grants may be used.
func (c *credit) due(now time.Time) (sum float64) {
	waiting := 0.0
	for _, g := range c.grants {
		switch ahead := g.end.Sub(now).Seconds(); {
		case ahead <= 0:
		case g.rate > 0:
			waiting += min(g.amount, ahead*g.rate)
		default:
			waiting += g.amount
		}
	}
	return c.left - waiting
}

// until returns how long it is until so much is due.
func (c *credit) until(amount float64, now time.Time) time.Duration {
	missing := amount - c.due(now)
	wait := limits.Forever
	for _, g := range c.grants {
		ahead := g.end.Sub(now)
		if ahead <= 0 {
			continue
		}
		if g.rate > 0 && g.amount > missing {
			start := max(ahead-time.Duration(g.amount/g.rate*float64(time.Second)), 0)
			return max(min(ahead, start+time.Duration(missing/g.rate*float64(time.Second))), time.Millisecond)
		}
		missing -= g.amount
		wait = ahead
		if missing <= 0 {
			break
		}
	}
	return max(wait, time.Millisecond)
}

// shared reports whether a request draws on the fleet's limit, and not on what this
// process believes of it.
func (l *Ledger) shared(of *draw, cost float64, now time.Time) bool {
	return l.store != nil && !of.credit.alone.After(now) && (of.credit.left > 0 || of.credit.asking || of.Near(cost+of.claimed, now))
}

// enough is the share of a cost that is not waited for: amounts are sums of fractions.
const enough = 1 - 1e-9

// ready reports whether a limit has what a request costs.
func (l *Ledger) ready(of *draw, cost float64, now time.Time) bool {
	if !l.shared(of, cost, now) {
		return of.Ready(cost, of.claimed, now)
	}
	return of.Ignored(now) || of.credit.due(now)-of.claimed >= cost*enough
}

// spend takes what a request costs from the credit, and returns its place among what the
// fleet drew: negative where it has used no credit, 0 where the place is not known.
func (l *Ledger) spend(of *draw, cost float64, now time.Time) (place float64) {
	c := &of.credit
	if c.left <= 0 {
		return limits.Unknown
	}
	c.used = now
	c.left = max(c.left-cost, 0)
	for cost > 0 && len(c.grants) > 0 {
		part := min(cost, c.grants[0].amount)
		c.grants[0].amount -= part
		if place = 0; c.grants[0].drawn > 0 {
			place = max(c.grants[0].drawn-c.grants[0].amount, 0)
		}
		if cost -= part; c.grants[0].amount <= 0 {
			c.grants = c.grants[1:]
		}
	}
	if len(c.grants) == 0 {
		c.left = 0
	}
	return place
}

// ask asks the store for what the line needs of each limit, beyond what was granted.
func (l *Ledger) ask(now time.Time) {
	if l.store == nil {
		return
	}
	for _, e := range l.entries {
		c := &e.credit
		missing := e.claimed - c.left
		switch {
		case c.asking || c.alone.After(now):
		case missing > 1e-9*e.claimed && e.asks > 0:
			if e.asks < e.covered && c.grants[len(c.grants)-1].end.Sub(now) > askAhead {
				continue // more will come until then
			}
			l.draws(e, missing, now)
		case e.asks == 0 && c.left > 0 && now.Sub(c.used) >= keepCredit:
			l.draws(e, -c.left, now)
			c.grants, c.left = nil, 0
		}
	}
}

// draws asks the store for an amount, or gives it back, in a goroutine of its own.
func (l *Ledger) draws(e *entry, amount float64, now time.Time) {
	c := &e.credit
	claim := e.Claim(amount+c.owed, now)
	c.owed = 0
	if claim.Mark = c.mark; c.said >= 0 {
		claim.Said, c.said = e.Since(c.said, c.saidAt, now), limits.Unknown
	}
	c.asking, c.used = true, now
	name := e.record
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), askTime)
		defer cancel()
		reply, err := l.store.Draw(ctx, name, claim)
		l.mu.Lock()
		defer l.mu.Unlock()
		now := time.Now()
		c.asking = false
		switch {
		case err != nil:
			c.grants, c.left, c.alone = nil, 0, now.Add(askAgain)
		case amount > 0:
			c.grants = append(c.grants, grant{amount, claim.Rate, now.Add(reply.Wait), reply.Drawn})
			c.left += amount
			c.used = now
		}
		l.release(now)
		l.keep(now)
	}()
}

// settle notes that a request with a place cost more than was drawn for it, or less.
func (of *draw) settle(more, place float64, now time.Time) {
	c := &of.credit
	switch {
	case place < 0 || more == 0:
	case more > 0:
		c.owed += more
	default:
		c.grants = append([]grant{{-more, 0, now, 0}}, c.grants...)
		c.left, c.used = c.left-more, now
	}
}

// keep arranges for unused credit to be given back.
func (l *Ledger) keep(now time.Time) {
	if len(l.line) > 0 || l.keeping {
		return
	}
	for _, e := range l.entries {
		if e.credit.left > 0 {
			l.keeping = true
			time.AfterFunc(keepCredit, func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.keeping = false
				now := time.Now()
				if len(l.line) == 0 {
					l.clearClaims()
					l.ask(now)
				}
				l.keep(now)
			})
			return
		}
	}
}
