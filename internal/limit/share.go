package limit

import (
	"math"
	"time"
)

// A Claim is what a replica asks of a limit that the fleet shares.
type Claim struct {
	Full    float64 // the most that the limit ever has
	Rate    float64 // at which it is refilled, per second; 0 for a window
	Reserve float64 // what is left in it
	Reset   time.Duration
	Length  time.Duration // of a window; 0: unknown. Reset is until its end

	Amount float64 // what is drawn; negative: what is given back
	Level  float64 // what remains as far as the replica knows, where nothing is known yet
	// Said is what an answer said to remain, and Mark the place of its request: the Drawn
	// of its grant. Said is negative where no answer came.
	Said, Mark float64
}

// A Grant is what the fleet answers.
type Grant struct {
	Wait  time.Duration // until all of the amount may be sent
	Drawn float64       // by the whole fleet, this amount included
}

// A Share is what a store keeps of a limit: the level, which is below 0 while requests wait
// their turn. A replica that asks is granted its amount at once, for a later time, so that
// all wait in one line, and none asks twice. The zero value is ready for use.
type Share struct {
	Level, Drawn, Latest float64
	At, Resets           time.Time
}

// Draw takes what is claimed. Lua's copy is limit.lua in internal/redisstore.
func (s *Share) Draw(c Claim, now time.Time) Grant {
	if s.At.IsZero() {
		s.Level, s.At, s.Resets = c.Level, now, now.Add(c.Reset)
	}
	if latest := now.Add(c.Reset); c.Rate <= 0 && s.Resets.After(latest) {
		s.Resets = latest
	}
	elapsed := max(now.Sub(s.At).Seconds(), 0)
	if c.Rate > 0 {
		s.Level += c.Rate * elapsed
	} else if !now.Before(s.Resets) {
		s.Level, s.Resets = s.Level+c.Full, now.Add(c.Reset)
	}
	s.At = now
	if c.Said >= 0 && c.Mark >= s.Latest { // else a later request's answer has said more
		s.Level, s.Latest = c.Said-max(s.Drawn-c.Mark, 0), c.Mark
	}
	s.Level = min(s.Level, c.Full) - c.Amount
	s.Drawn += c.Amount
	return Grant{s.wait(c, now), s.Drawn}
}

func (s *Share) wait(c Claim, now time.Time) time.Duration {
	missing := c.Reserve - s.Level
	switch {
	case missing <= 0:
		return 0
	case c.Rate > 0:
		return seconds(missing / c.Rate)
	case c.Full <= 0:
		return s.Resets.Sub(now)
	}
	return s.Resets.Sub(now) + seconds((math.Ceil(missing/c.Full)-1)*c.Length.Seconds())
}

// Claim returns a claim of so much of the account.
func (a *Account) Claim(amount float64, now time.Time) Claim {
	a.advance(now)
	c := Claim{Full: a.full(), Amount: amount, Level: a.level, Said: Unknown}
	if a.refill.foreseen() {
		c.Reset, c.Length = max(a.refill.resets.Sub(now), time.Millisecond), a.refill.length
		return c
	}
	c.Rate = a.refill.rate
	if !a.known {
		c.Reserve = min(c.Full*reserve, max(c.Full-amount, 0))
	}
	return c
}

// Near reports whether the limit is so nearly used up that the replicas of a fleet must
// share it out: what remains behind a request is less than half. A limit that the user
// knows is always shared out, since no answer speaks of it.
func (a *Account) Near(cost float64, now time.Time) bool {
	if a.Concurrent() || a.Ignored(now) || a.full() <= 0 {
		return false
	}
	a.advance(now)
	const half = 0.5
	return a.known || a.level-cost < half*a.full()
}

// Since returns what became of a level that was said a while ago, before anything is drawn
// on it; Unknown where a window has ended since. It may be more than there can be: what was
// drawn meanwhile is still to be taken from it.
func (a *Account) Since(level float64, at, now time.Time) float64 {
	if !a.refill.same(at, now) {
		return Unknown
	}
	return a.refill.between(level, 0, 1, at, now)
}
