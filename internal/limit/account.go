package limit

import (
	"math"
	"time"
)

// An Account is what a process believes of one limit. It draws on it for each request
// that it sends, refills it as the server does, and is corrected by what answers say.
//
// The level is what would remain if the server had charged all that was drawn. An answer
// says what remained when its own request was charged: what was drawn since then is not in
// that number, and is subtracted.
type Account struct {
	Name string
	Per  time.Duration // as the server or the user says it; 0: unknown

	max     float64 // 0: unknown
	cap     float64 // the most that the level may be; 0: max
	known   bool    // the user knows the limit: it does not depend on answers
	level   float64
	at      time.Time // the level's time
	drawn   float64   // in all
	draws   uint64    // how many
	guesses uint64    // how many of them had a cost that was guessed
	latest  Mark      // of the latest request whose answer was taken in
	said    float64   // what remained by that answer
	refill  refill
	portion portion // how much of the limit is used by this process
	doubt   doubt
}

// A Mark is the place of a request among all that drew on an account.
type Mark struct {
	drawn          float64 // in all, its own cost included
	draws, guesses uint64
	at             time.Time
}

// At returns when the request was sent.
func (m Mark) At() time.Time { return m.at }

// FromAnswer returns the account of a limit that the server spoke of.
func FromAnswer(l Limit, now time.Time) *Account {
	return &Account{Name: l.Name, Per: l.Per, max: max(l.Max, l.Remaining, 0), level: max(l.Remaining, 0), at: now}
}

// burst is the share of a known limit that may be used at once. A server that counts by
// the window admits Max in any of its windows: a bucket of that size would send up to twice
// as much in one of them.
const burst = 0.1

// FromUser returns the account of a limit that the user knows: so many per time, or, with
// no time, so many at once.
func FromUser(l Limit, now time.Time) *Account {
	a := &Account{Name: l.Name, Per: l.Per, max: l.Max, cap: l.Max, known: true, at: now}
	if l.Per > 0 {
		a.cap = max(l.Max*burst, min(l.Max, 1))
		a.refill.rate = l.Max / l.Per.Seconds()
	}
	a.level = a.cap
	return a
}

// Concurrent reports whether the limit is one of what goes on at once: it is refilled by
// Return alone.
func (a *Account) Concurrent() bool { return a.known && a.Per == 0 }

// Known reports whether the user knows the limit; else the server spoke of it.
func (a *Account) Known() bool { return a.known }

// Short reports whether what remains is less than a request of that cost needs.
func (a *Account) Short(cost, remaining float64) bool {
	return remaining < cost && (a.max == 0 || remaining < a.max)
}

// full returns the level at which an account takes no more.
func (a *Account) full() float64 {
	if a.cap > 0 {
		return a.cap
	}
	return a.max
}

// advance refills the account up to now.
func (a *Account) advance(now time.Time) {
	elapsed := now.Sub(a.at)
	if elapsed <= 0 {
		return
	}
	a.at = now
	a.level = a.refill.advance(a.level, a.full(), a.portion.share(a.known), now, elapsed)
}

// reserve is the share of a server's bucket that is left in it. A bucket that is not full
// loses nothing by the wait, and what is not known (what others draw meanwhile, and what
// requests cost in truth) does not lead to refusals at once. At half of it, refusals are
// fewer still, but requests whose cost is unknown wait too long; at none, two replicas are
// refused once per served request.
const reserve = 0.25

// need is what must be there for a request: one that costs more than the limit ever has
// goes when the account is full.
func (a *Account) need(cost float64) float64 {
	full := a.full()
	if full <= 0 {
		return cost
	}
	if !a.known && !a.refill.window() {
		cost += full * reserve
	}
	return min(cost, full)
}

// Ready reports whether a request of that cost may be sent, where others with a claim go
// first.
func (a *Account) Ready(cost, claimed float64, now time.Time) bool {
	if a.Ignored(now) {
		return true
	}
	a.advance(now)
	const rounding = 1e-9
	return a.level-claimed+rounding*a.full() >= a.need(cost)
}

// Forever is longer than any request waits.
const Forever = time.Duration(math.MaxInt64) / 4

// Wait returns how long it is until Ready, as far as can be foreseen. It is at least a
// millisecond where the account is not ready.
func (a *Account) Wait(cost, claimed float64, now time.Time) time.Duration {
	if a.Ready(cost, claimed, now) {
		return 0
	}
	if a.Concurrent() {
		return Forever // when a request ends is not known
	}
	missing := a.need(cost) + claimed - a.level
	return max(a.refill.wait(missing, a.full(), a.portion.share(a.known), now), time.Millisecond)
}

// Draw takes the cost of a request that is sent now, which is known or a guess.
func (a *Account) Draw(cost float64, known bool, now time.Time) Mark {
	a.advance(now)
	a.level -= cost
	a.drawn += cost
	a.draws++
	if !known {
		a.guesses++
	}
	return Mark{a.drawn, a.draws, a.guesses, now}
}

// Return gives back what was drawn and not used. What a later answer says holds already:
// it is not added to that.
func (a *Account) Return(m Mark, amount float64, now time.Time) {
	if !a.known && a.latest.draws >= m.draws {
		return
	}
	a.advance(now)
	a.level = a.bounded(a.level + amount)
	a.drawn -= amount
}

// Correct takes in what a request cost in truth, beyond what was drawn for it.
func (a *Account) Correct(m Mark, more float64, now time.Time) {
	if more <= 0 {
		a.Return(m, -more, now)
		return
	}
	a.advance(now)
	a.level -= more
	a.drawn += more
}

func (a *Account) bounded(level float64) float64 {
	if full := a.full(); full > 0 {
		return min(level, full)
	}
	return level
}

// Learn takes in what an answer says of the limit. m is the mark of its request, zero
// where it drew nothing. It returns the cost of a request as the numbers show it, and
// whether they do.
func (a *Account) Learn(l Limit, m Mark, now time.Time) (each float64, ok bool) {
	if a.known || !l.Valid() {
		return 0, false
	}
	if m.draws == 0 { // it was sent before the account began: all that was drawn came later, or is in it
		m = Mark{a.drawn, a.draws, a.guesses, now}
	}
	a.advance(now)
	before := a.refill
	if l.Max > 0 {
		a.max = l.Max
	}
	if l.Remaining < 0 {
		return 0, false
	}
	a.max = max(a.max, l.Remaining) // where the server does not say the size, the most that was seen
	a.refill.learn(l, a.max, now)
	later := a.drawn - m.drawn
	// It is known what remained when the server charged the request, soon after it was sent
	// or before it was answered. In a steady state both come to the same: what was refilled
	// since is what was drawn since.
	level := a.bounded(before.between(l.Remaining, 0, a.portion.share(false), m.at, now) - later)
	if m.draws < a.latest.draws {
		return 0, false // a later request's answer has said more
	}
	if a.latest.draws > 0 && m.draws > a.latest.draws {
		fell := before.between(a.said, a.full(), 1, a.latest.at, m.at) - l.Remaining
		own, n := m.drawn-a.latest.drawn, float64(m.draws-a.latest.draws)
		if before.same(a.latest.at, now) {
			if m.guesses == a.latest.guesses {
				a.portion.learn(own, fell) // a guess is made of fell, and says nothing of others
			}
			each, ok = fell/n, fell > 0
		}
	}
	a.latest, a.said, a.level = m, l.Remaining, level
	return each, ok
}

// Seen returns the limit as it is known now.
func (a *Account) Seen(now time.Time) Limit {
	a.advance(now)
	l := Limit{Name: a.Name, Max: a.max, Remaining: max(a.level, 0), Reset: Unknown, Per: a.Per}
	if full := a.full(); full > 0 && !a.Concurrent() {
		if l.Reset = a.refill.wait(full-a.level, full, 1, now); l.Reset >= Forever {
			l.Reset = Unknown
		}
	}
	return l
}

// Soonest returns the least that a request waits, if no other process draws on the limit.
func (a *Account) Soonest(cost, claimed float64, now time.Time) time.Duration {
	if a.Ready(cost, claimed, now) || a.Concurrent() {
		return 0
	}
	return a.refill.wait(a.need(cost)+claimed-a.level, a.full(), 1, now)
}
