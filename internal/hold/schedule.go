package hold

import "time"

// Micros is a time of a register's own clock, in µs since 1970; 0 is none. The turns of
// a schedule may be less than a millisecond apart.
type Micros int64

func micros(t time.Time) Micros { return Micros(t.UnixMicro()) }

// Time returns m as a time, or the zero time for 0.
func (m Micros) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m))
}

const (
	// A schedule follows the rate, and replicas are told of it, where it is by so much slower or
	// faster than the one that they were told of last: their turns move.
	slower = 0.96
	faster = 1.04
	// UnusedAfter is how long a round may be over before the turns that were handed out
	// are taken for lost: a replica that has some reports before. See [Turns.Ask].
	UnusedAfter = 3 * time.Second
	// longestLine bounds how far ahead turns are handed out.
	longestLine = 24 * time.Hour
	// maxMicros bounds what may lie ahead, before it is limited to the longest hold.
	maxMicros = 1 << 50
)

// A Schedule is the virtual clock of a paced record: a turn to send comes once in Gap
// (GCRA, the generic cell rate algorithm of ATM networks). Who asks first goes first,
// through the whole fleet. A change of the rate moves the turns that are not yet due.
type Schedule struct {
	Gap  time.Duration // between turns: the rate, upside down; 0 where there are none
	Next Micros        // when the next turn comes that no replica has
}

// gap returns the time between turns, whatever wrote it.
func (s *Schedule) gap() Micros {
	return max(Micros(min(max(s.Gap, 0), maxLength).Microseconds()), 1)
}

// take hands out turns: as many as are wanted, but no more than most, and none that
// comes after patience is over. It returns how many, and when the first comes.
func (s *Schedule) take(want, most int, patience time.Duration, at Micros) (n int, first Micros) {
	first = max(s.Next, at)
	if reach := at + Micros(patience.Microseconds()); first <= reach {
		n = min(want, most, within(int((reach-first)/s.gap()), MaxPermits)+1)
	}
	if n > 0 {
		s.Next = first + Micros(n)*s.gap()
	}
	return n, first
}

// retime moves the turns that are not yet due to where they are at another rate.
func (s *Schedule) retime(gap time.Duration, at Micros) {
	if ahead := s.Next - at; ahead > 0 {
		s.Next = at + Micros(min(float64(ahead)*float64(max(gap, 1))/float64(max(s.Gap, 1)), maxMicros))
	}
}

// furthest returns how far ahead Next may be, whatever wrote it: as far as the turns reach
// that were handed out since the round began, at a rate that was less than twice as high
// before; and a day. A line may be longer than any hold.
func (r *Record) furthest(at Millis) Micros {
	line := 2 * Micros(within(r.Granted, maxCount)+1) * r.gap()
	return Micros(at+1)*1000 + min(line, Micros(longestLine.Microseconds()))
}

// from returns how many turns that were handed out come at a time, or later.
func (s *Schedule) from(at Micros) int {
	return within(int((s.Next-at+s.gap()/2)/s.gap()), MaxPermits)
}
