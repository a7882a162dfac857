package hold

import "time"

// Micros is a time of a register's own clock, in µs since 1970; 0 is none. The turns of
// a schedule may be less than a millisecond apart.
type Micros int64

func micros(t time.Time) Micros { return Micros(t.UnixMicro()) }

const (
	// aheadTime is how far ahead turns are handed out: so long may a rate that changes
	// be off, and so much is lost with a replica that dies. It is aheadTurns turns where
	// those take longer.
	aheadTime  = time.Second
	aheadTurns = 3
	// Replicas are told of a rate that is by so much slower, or faster, than the one that
	// they were told of last: what they have of the schedule would be too fast, or leave
	// so much of it unused.
	slower = 0.95
	faster = 1.25
	// maxMicros bounds what may lie ahead before it is limited to the longest hold.
	maxMicros = 1 << 50
)

// A Schedule is the virtual clock of a paced record: a turn to send comes once in Gap
// (GCRA, the generic cell rate algorithm of ATM networks). Where more turns are wanted
// than there are within reach, replicas stand in line, and are told when to ask again.
type Schedule struct {
	Gap  time.Duration // between turns: the rate, upside down
	Next Micros        // when the next turn comes that nobody has
	Tail Micros        // when a turn comes for who joins the line now
}

// gap returns the time between turns, whoever wrote it.
func (s *Schedule) gap() Micros {
	return max(Micros(min(max(s.Gap, 0), maxLength).Microseconds()), 1)
}

// ahead returns how far ahead turns are handed out.
func (s *Schedule) ahead() Micros { return Micros(ahead(s.Gap).Microseconds()) }

func ahead(gap time.Duration) time.Duration { return max(aheadTime, aheadTurns*gap) }

// take hands out turns. Who stands in line goes first, and who does not joins the line
// where it is longer than reach; unless the schedule is nearly empty, as where replicas
// died that stood in line. Nobody joins whose patience ends before its turn. No more
// are handed out than most.
func (s *Schedule) take(want, placed, most int, patience time.Duration, at Micros) (n int, first Micros, joined int) {
	gap, reach := s.gap(), at+s.ahead()
	s.Next = max(s.Next, at)
	s.Tail = max(s.Tail, s.Next)
	room := 0
	if s.Next <= reach {
		room = min(int((reach-s.Next)/gap)+1, most)
	}
	first, placed = s.Next, within(placed, want)
	n = min(placed, room)
	fresh := want - placed
	if n == placed && (s.Tail <= reach || s.Next <= at+s.ahead()/4) {
		m := min(fresh, room-n)
		if s.Tail <= reach {
			s.Tail += Micros(m) * gap
		}
		n, fresh = n+m, fresh-m
	}
	s.Next += Micros(n) * gap
	s.Tail = max(s.Tail, s.Next)
	joined = within(int((at+Micros(patience.Microseconds())-s.Tail)/gap), fresh)
	s.Tail += Micros(joined) * gap
	return n, first, joined
}

// Time returns m as a time, or the zero time for 0.
func (m Micros) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m))
}

// retime moves the turns that are not yet due to where they are at another rate.
func (s *Schedule) retime(gap time.Duration, at Micros) {
	factor := float64(max(gap, 1)) / float64(max(s.Gap, 1))
	for _, t := range []*Micros{&s.Next, &s.Tail} {
		if ahead := *t - at; ahead > 0 {
			*t = at + Micros(min(float64(ahead)*factor, maxMicros))
		}
	}
}

// from returns how many turns that were handed out come at a time, or later.
func (s *Schedule) from(at Micros) int {
	return within(int((s.Next-at+s.gap()/2)/s.gap()), MaxPermits)
}

// rewind keeps the schedule where the clock was set back.
func (s *Schedule) rewind(step Micros) {
	s.Next, s.Tail = max(s.Next-step, 0), max(s.Tail-step, 0)
}

// limit bounds what lies ahead, whoever wrote it.
func (s *Schedule) limit(latest Micros) {
	s.Next, s.Tail = min(s.Next, latest), min(s.Tail, latest)
}
