package hold

import "time"

// A Decision is the next round of a record.
type Decision struct {
	Rev      uint64 // of the record that it was made for
	At       Millis // when that record was read
	Seen     Totals // of that record
	SeenHint Millis
	// SeenAttempts are of that record as well.
	SeenAttempts int

	Phase      Phase
	Generation uint64
	Until      Millis
	Permits    int
	Gap        time.Duration // between turns; 0 where there are none
	Alarms     Alarms
	Memory     Memory
	Keep       Millis
	Attempts   int
	Status     int
	Failures   int // of a healthy key, that were seen and still count

	NewRound bool   // else the round goes on, with other alarms
	Changed  bool   // the other replicas must learn of it
	Replica  string // who decides
	Want     int    // how many permits it has use for
	Patience time.Duration
	// MaxAge is how old the record may be by now.
	MaxAge time.Duration
}

// Commit starts the round of d, unless another replica has decided since, or d is not
// of this record any more. It grants permits either way.
func (r *Record) Commit(d Decision, now time.Time) Reply {
	at := millis(now)
	r.rewind(at)
	if d.Rev != r.Rev || r.outdates(d, at) {
		reply := r.grant(d.Want, d.Patience, now)
		reply.Due = d.Rev == r.Rev
		return reply
	}
	rest := r.Totals.without(d.Seen)
	if d.Generation != r.Generation {
		rest.Good, rest.Bad, rest.Refused, rest.Returned = 0, 0, 0, 0
	}
	rest.Failures = plus(rest.Failures, d.Failures)
	r.Attempts = max(r.Attempts-d.SeenAttempts, 0) + d.Attempts
	if d.Phase != Healthy || r.Attempts == 0 {
		rest.Failures, r.Witnesses = 0, nil
	}
	if d.Phase != Healthy {
		rest.Refusals = 0
	}
	if r.HintUntil == d.SeenHint {
		r.HintUntil, r.HintAt = 0, 0
	}
	ahead := 0 // turns that were handed out, and are yet to come
	if r.Gap > 0 {
		ahead = r.from(Micros(min(r.Until, at)) * 1000)
	}
	r.Rev++
	r.reschedule(d, micros(now))
	r.Phase, r.Generation, r.Until, r.Permits = d.Phase, d.Generation, d.Until, d.Permits
	if d.NewRound {
		r.Began, r.Granted = at, 0
		if r.Next > 0 {
			r.Granted = ahead
		}
		if d.Phase == Probing || d.Phase == Ramping {
			r.Until += at - d.At // it lasts as long however late it begins: a ramp must not hurry
		}
	}
	r.Alarms, r.Memory, r.Keep, r.Totals = d.Alarms, d.Memory, d.Keep, rest
	if r.Attempts == d.Attempts {
		r.Status = d.Status
	}
	r.Claim, r.ClaimUntil = "", 0
	reply := r.grant(d.Want, d.Patience, now)
	reply.Changed = d.Changed
	return reply
}

// reschedule goes on at the rate of d. Turns that replicas have already move with it
// where they are told of it. They end with the pace, and where no replica is left that
// would use them.
func (r *Record) reschedule(d Decision, at Micros) {
	switch {
	case d.Gap == 0 || r.Gap == 0, at-Micros(r.Until)*1000 > Micros(UnusedAfter.Microseconds()):
		r.Next = 0
	case d.Changed:
		r.retime(d.Gap, at)
	}
	r.Gap = d.Gap
}

// outdates reports whether d is too old; or was made before this round began, of a
// record that was lost since and had the same Rev; or before the clock was set back, so
// that its times are too far ahead.
func (r *Record) outdates(d Decision, at Millis) bool {
	return at-d.At > toMillis(d.MaxAge) || d.At < r.Began || at < d.At
}
