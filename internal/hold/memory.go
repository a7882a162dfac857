package hold

import "time"

// Version is the version of [Memory]. A replica does not decide on a state of a
// higher version: it follows the rounds that others decide.
const Version = 1

// Millis is a time of a register's own clock, in ms since 1970; 0 is none.
type Millis int64

func millis(t time.Time) Millis {
	if t.IsZero() {
		return 0
	}
	return Millis(t.UnixMilli())
}

// Time returns m as a time, or the zero time for 0.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m))
}

// A Memory is what the machine keeps of a key from round to round, beyond the
// numbers that a register compares. A register stores it and does not look into it,
// and a report leaves it as it is stored: a replica of another version may have
// written fields that this one does not read.
type Memory struct {
	Version        int     `json:"v"`
	At             Millis  `json:"at,omitempty"` // when it was written
	Level          int     `json:"level,omitempty"`
	Good           int     `json:"good,omitempty"`
	Bad            int     `json:"bad,omitempty"`
	Failures       int     `json:"failures,omitempty"`
	RecoveredAt    Millis  `json:"recovered,omitempty"`
	ServerDirected bool    `json:"directed,omitempty"`
	Length         int64   `json:"length,omitempty"` // of the round, ms
	Rate           float64 `json:"rate,omitempty"`
	Announced      float64 `json:"announced,omitempty"` // the rate that replicas were told of
	ProvenRate     float64 `json:"proven,omitempty"`
	CooldownUntil  Millis  `json:"cooldown,omitempty"`
	CooldownExp    int     `json:"cooldowns,omitempty"`
	Before         Part    `json:"before,omitzero"`  // of a descent of the rate: until it was last halved
	Present        Part    `json:"present,omitzero"` // since then
	RetryAfter     Millis  `json:"after,omitempty"`
	Remaining      int     `json:"remaining,omitempty"`
	ResetAt        Millis  `json:"reset,omitempty"`
}

// memory returns the part of m that a register does not compare.
func (m *Machine) memory() Memory {
	return Memory{
		Version: Version, Level: m.level, Good: m.good, Bad: m.bad, Failures: m.failures,
		RecoveredAt: millis(m.recoveredAt), ServerDirected: m.serverDirected, Length: m.length.Milliseconds(),
		Rate: m.rate, Announced: m.announced, ProvenRate: m.provenRate, CooldownUntil: millis(m.cooldownUntil), CooldownExp: m.cooldownExp,
		Before: m.descent.before, Present: m.descent.present, RetryAfter: millis(m.retryAfter),
		Remaining: m.remaining, ResetAt: millis(m.resetAt),
	}
}

// rewound returns s by a clock that may have been set back since s was written: a
// quota or a cooldown lasts no longer than it would have.
func (s Memory) rewound(now Millis) Memory {
	step := s.At - now
	if step <= 0 {
		return s
	}
	for _, t := range []*Millis{&s.At, &s.RecoveredAt, &s.CooldownUntil, &s.RetryAfter, &s.ResetAt} {
		if *t > 0 {
			*t = max(*t-step, 1)
		}
	}
	return s
}

// machine returns the machine whose state and numbers a record holds. Whatever
// wrote the record, and whatever its clock did since, the machine is sane: no
// number is out of its range, and no time is further in the future than longest.
func (r *Record) machine(now time.Time, longest time.Duration) Machine {
	s := r.Memory.rewound(millis(now))
	soon := func(t Millis, d time.Duration) time.Time {
		if latest := now.Add(d); t.Time().After(latest) {
			return latest
		}
		return t.Time()
	}
	m := Machine{
		phase: r.Phase, permits: within(r.Permits, MaxPermits), granted: within(r.Granted, MaxPermits), until: soon(r.Until, longest),
		serverDirected: s.ServerDirected, generation: r.Generation, round: r.Rev, level: within(s.Level, 1<<20),
		good: within(s.Good, maxCount), bad: within(s.Bad, maxCount),
		attempts: within(r.Attempts, maxCount), failures: within(s.Failures, maxCount), status: within(r.Status, 999),
		recoveredAt: soon(s.RecoveredAt, 0), witnesses: len(r.Witnesses), quorum: Quorum,
	}
	m.pacing = pacing{
		rate: finite(s.Rate), announced: finite(s.Announced), provenRate: finite(s.ProvenRate), cooldownUntil: soon(s.CooldownUntil, pacingCooldown<<maxCooldownDoublings),
		cooldownExp: within(s.CooldownExp, 1<<20), descent: descent{s.Before.bounded(), s.Present.bounded()},
		retryAfter: soon(s.RetryAfter, longest),
		lastDenied: soon(r.DeniedAt, 0), remaining: within(s.Remaining, maxCount), resetAt: soon(s.ResetAt, longest),
		length: min(max(time.Duration(s.Length)*time.Millisecond, Slot), maxLength),
	}
	if m.IsPaced() {
		m.rate = max(m.rate, minRate)
	}
	m.booked = r.Gap > 0 && r.Next > micros(now)
	if m.phase == Rationed {
		m.permits = max(m.permits-m.remaining, 0)
	}
	if m.IsPaced() {
		m.granted = within(r.Granted-r.from(Micros(min(r.Until, millis(now)))*1000), MaxPermits) // those to come are of later rounds
	}
	if m.generation == 0 {
		// Generations of a record that expired must not come again.
		m.generation = uint64(now.UnixMilli())
	}
	return m
}

const (
	// maxLength bounds the length of a round: that of one send at the lowest rate.
	maxLength = time.Duration(float64(time.Second) / minRate)
)

func within(n, limit int) int { return min(max(n, 0), limit) }

// finite returns a rate within its bounds, and 0 for NaN.
func finite(rate float64) float64 {
	if !(rate >= 0) {
		return 0
	}
	return min(rate, maxRate)
}
