package limit

import (
	"math"
	"time"
)

// refill is how a limit fills: all the time, as a bucket, or at once, at the end of a
// window. Which of them it is shows in how the numbers move: the reset of a window is a
// fixed moment, that of a bucket moves away with each request, in proportion to what is
// used. Until then it is taken for a bucket, as OpenAI, Anthropic and Groq have them.
type refill struct {
	rate   float64 // of a bucket, per second; 0: unknown
	err    float64 // of the rate, as a share
	resets time.Time
	length time.Duration // of a window; 0: unknown
	votes  int           // for a window, less those for a bucket

	last   Limit // what was said last
	lastAt time.Time
}

const (
	// mostVotes bounds what earlier numbers count for: after so many that say otherwise, a
	// limit is of the other kind.
	mostVotes = 4
	// leastError is how well the rate of a bucket is known at best: it may change.
	leastError = 0.02
	// coarse is by how much a reset may be off that is said in whole seconds.
	coarse = time.Second
	// fine is the same for others: for the time that an answer takes.
	fine = 20 * time.Millisecond
)

func (r *refill) window() bool { return r.votes > 0 }

// foreseen reports whether the limit is a window whose end is known. Where the end of
// the present window is not, it is taken for a bucket.
func (r *refill) foreseen() bool { return r.window() && !r.resets.IsZero() }

func rounding(reset time.Duration) time.Duration {
	if reset%time.Second == 0 {
		return coarse
	}
	return fine
}

// usualPeriod is the time in which a limit is supposed to be refilled of which the server
// does not say it. Most limits that have a weight are per minute.
const usualPeriod = time.Minute

// learn takes in what an answer says of a limit of that size.
func (r *refill) learn(l Limit, size float64, now time.Time) {
	if l.Per > 0 && l.Reset < 0 && l.Max > 0 {
		r.learnPeriod(l, now)
		return
	}
	if r.rate == 0 {
		r.rate, r.err = size/usualPeriod.Seconds(), 1000 // any number is better
	}
	used := size - l.Remaining
	if l.Reset < 0 {
		return
	}
	if l.Max > 0 {
		r.vote(l, used, now)
	} else if r.votes == 0 {
		r.votes = 1 // of a bucket, the size is said
	}
	if l.Reset > 0 && used > 0 {
		err := rounding(l.Reset).Seconds()/l.Reset.Seconds() + leastError
		rate := used / l.Reset.Seconds()
		r.rate += (rate - r.rate) * r.err / (r.err + err)
		r.err = max(r.err*err/(r.err+err), leastError)
	}
	end := now.Add(l.Reset)
	if r.window() && end.Sub(r.resets) > l.Reset/2 && !r.resets.IsZero() && !now.Before(r.resets) {
		r.length = max(r.length, l.Reset)
	}
	if !r.resets.After(now) || end.Before(r.resets) || !r.window() {
		r.resets = end // the earliest that fits what was said of this window
	}
	r.last, r.lastAt = l, now
}

// vote compares what the last numbers let expect of a bucket and of a window.
func (r *refill) vote(l Limit, used float64, now time.Time) {
	usedBefore := r.last.Max - r.last.Remaining
	end := r.lastAt.Add(r.last.Reset)
	if r.lastAt.IsZero() || r.last.Max != l.Max || usedBefore <= 0 || !now.Before(end) {
		return
	}
	unlikeWindow := now.Add(l.Reset).Sub(end).Abs()
	ratio := used / usedBefore
	unlikeBucket := time.Duration(math.Abs(l.Reset.Seconds()-r.last.Reset.Seconds()*ratio) * float64(time.Second))
	unsure := max(rounding(l.Reset), time.Duration(float64(rounding(r.last.Reset))*max(ratio, 1)))
	r.count(unlikeBucket-unlikeWindow, unsure)
}

// count notes which of the two is further from what was said.
func (r *refill) count(more, unsure time.Duration) {
	switch {
	case more > unsure:
		r.votes = min(r.votes+1, mostVotes)
	case more < -unsure:
		r.votes = max(r.votes-1, -mostVotes)
	}
}

// enough is the share of a limit that a bucket must have been refilled by, for its
// absence to show.
const enough = 0.1

// learnPeriod takes in the numbers of a limit that is so much per time, without a reset:
// a bucket rises in small steps, a window in one.
func (r *refill) learnPeriod(l Limit, now time.Time) {
	r.rate, r.err, r.length = l.Max/l.Per.Seconds(), leastError, l.Per
	rose, expected := l.Remaining-r.last.Remaining, r.rate*now.Sub(r.lastAt).Seconds()
	switch {
	case r.lastAt.IsZero():
		r.resets = now.Add(l.Per)
	case rose > max(2*expected, enough*l.Max):
		r.votes, r.resets = min(r.votes+1, mostVotes), now.Add(l.Per)
	case rose > 0:
		r.votes = max(r.votes-1, -mostVotes)
	case expected > enough*l.Max && l.Remaining < enough*l.Max:
		r.votes = min(r.votes+1, mostVotes)
	case expected <= enough*l.Max && rose <= 0:
		return // the earlier numbers are the better ones to compare with
	}
	r.last, r.lastAt = l, now
}

// advance returns the level after a time in which nothing was drawn. A process that uses
// a share of the limit is refilled by that share.
func (r *refill) advance(level, full, share float64, now time.Time, elapsed time.Duration) float64 {
	switch {
	case !r.foreseen():
		level += r.rate * share * elapsed.Seconds()
	case !now.Before(r.resets):
		level = max(level, full*share)
		if r.length <= 0 {
			r.resets = time.Time{}
			break
		}
		r.resets = r.resets.Add((now.Sub(r.resets)/r.length + 1) * r.length)
	}
	if full > 0 {
		level = min(level, full)
	}
	return level
}

// between returns what the level becomes from one time to another, without a look at the
// windows that have ended.
func (r *refill) between(level, full, share float64, from, to time.Time) float64 {
	if !r.foreseen() {
		level += r.rate * share * max(to.Sub(from).Seconds(), 0)
	}
	if full > 0 {
		level = min(level, full)
	}
	return level
}

// same reports whether no window has ended since a time.
func (r *refill) same(since, now time.Time) bool {
	return !r.window() || r.resets.After(now) && (r.length == 0 || r.resets.Sub(since) < r.length)
}

// wait returns how long it takes until so much more is there.
func (r *refill) wait(missing, full, share float64, now time.Time) time.Duration {
	switch {
	case missing <= 0:
		return 0
	case r.foreseen():
		further := 0.0 // whole windows after this one, if their length is known
		if full > 0 {
			further = max(math.Ceil(missing/(full*share))-1, 0)
		}
		return min(max(r.resets.Sub(now), 0)+seconds(further*r.length.Seconds()), Forever)
	case r.rate > 0:
		return seconds(missing / (r.rate * share))
	}
	return Forever
}

func seconds(n float64) time.Duration {
	if n >= Forever.Seconds() {
		return Forever
	}
	return time.Duration(math.Ceil(n * float64(time.Second)))
}
