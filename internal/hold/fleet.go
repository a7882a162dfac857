package hold

import "time"

// A Report is what a replica met since its last report, added up, and what it
// asks for. Times are durations, since no two clocks agree.
type Report struct {
	Replica    string
	Generation uint64 // of the permits whose results follow

	Good, Bad, Refused          int // successes, failures and refusals of permits
	GoodRetries, RefusedRetries int // those of them that were retries
	Returned                    int // permits that were not used, or whose result is unknown

	Failures int // of a healthy key
	Refusals int // of a healthy key, beyond those that a replica tolerates

	Left   int           // what remains of a quota
	Refill time.Duration // until its reset; 0: nothing is known
	Near   bool          // it is nearly used up
	Lies   bool          // the numbers are inconsistent

	Status int
	Hint   time.Duration
	Word   bool // Hint holds every request, whatever is left of it
	Well   bool // a request succeeded, which ends a row of failures
	Want   int  // permits asked for
	Lease  time.Duration
}

// A Fleet is the machine of one key as all its replicas share it: what a store
// in the memory of one process keeps per key. The zero value is a healthy key.
type Fleet struct {
	Machine
	witnessed map[string]bool // the replicas that reported failures
	last      time.Time       // when the last failure was reported
}

// NewFleet returns a healthy key that a fleet shares.
func NewFleet() Fleet {
	return Fleet{Machine: Machine{quorum: Quorum}, witnessed: make(map[string]bool)}
}

// Snapshot returns the state as it is shared.
func (f *Fleet) Snapshot() Snapshot {
	s := f.Machine.Snapshot()
	s.Permits, s.Last = 0, f.last
	return s
}

// Apply takes in a report, and returns how many permits it grants.
func (f *Fleet) Apply(r Report, now time.Time, jitter Jitter) (granted int) {
	f.latency = slowLatency(r.Lease)
	f.applySuccesses(r, now, jitter)
	if f.IsHealthy() {
		clear(f.witnessed)
	}
	f.Advance(now, jitter)
	f.applyFailures(r, now, jitter)
	if r.Refill > 0 || r.Lies {
		f.recordQuota(Quota{Remaining: r.Left, ResetAt: now.Add(r.Refill), NearExhaustion: r.Near, Inconsistent: r.Lies}, now)
	}
	if r.Refusals > 0 {
		f.Measure(now)
	}
	if r.Bad+r.Refused+r.Failures > 0 || r.Hint > 0 {
		f.last = now
	}
	f.Advance(now, jitter)
	if r.Returned > 0 && f.phase == Probing && r.Generation == f.generation {
		f.releaseProbe(now)
	}
	granted = f.grantUpTo(r, now, jitter)
	if f.phase != Healthy {
		clear(f.witnessed)
	}
	return granted
}

func (f *Fleet) applySuccesses(r Report, now time.Time, jitter Jitter) {
	good := Result{Permit: Permit{Generation: r.Generation, Limited: true}, Lesson: Good}
	for i := range r.Good {
		good.Retry = i >= r.Good-r.GoodRetries
		f.Record(good, now, jitter)
	}
	if r.Well && f.phase == Healthy {
		f.forget()
	}
}

func (f *Fleet) applyFailures(r Report, now time.Time, jitter Jitter) {
	bad := Result{
		Permit: Permit{Generation: r.Generation, Limited: true},
		Hint:   r.Hint, ServerDirected: r.Word && r.Hint > 0, Status: r.Status,
	}
	switch {
	case r.Bad+r.Refused > 0:
		bad.Lesson = Failed
		for range r.Bad {
			f.Record(bad, now, jitter)
		}
		bad.Lesson = Refused
		for i := range r.Refused {
			bad.Retry = i < r.RefusedRetries
			f.Record(bad, now, jitter)
		}
	case r.Hint > 0:
		bad.Lesson, bad.Limited = Refused, false
		if r.Failures > 0 {
			bad.Lesson = Failed
		}
		f.Record(bad, now, jitter)
	}
	if f.phase != Healthy || r.Failures == 0 {
		return
	}
	f.witnessed[r.Replica] = true
	f.witnesses = len(f.witnessed)
	for range r.Failures {
		f.Record(Result{Permit: Permit{Generation: f.generation}, Lesson: Failed, Status: r.Status}, now, jitter)
	}
}

func (f *Fleet) grantUpTo(r Report, now time.Time, jitter Jitter) (granted int) {
	for range r.Want {
		if f.Unlimited() {
			break
		}
		if _, ok := f.grant(now, r.Lease, jitter); !ok {
			break
		}
		granted++
	}
	return granted
}
