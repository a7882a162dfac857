package hold

import "time"

// A Report is what a replica met since its last report, added up, and what it
// asks for. Times are durations, since no two clocks agree.
type Report struct {
	// At is when the replica took down what follows. Zero means now.
	At time.Time
	// Replica names the replica, and Call counts its reports, so that a report
	// that arrives twice adds no second witness.
	Replica string
	Call    uint64
	// Version is the highest version of a record's Memory that the replica reads.
	Version int
	// Generation is that of the permits whose results follow.
	Generation uint64
	// Good, Bad and Refused count results of permits: successes, failures that the
	// server answered, and refusals.
	Good, Bad, Refused int
	// Returned counts permits that were not used, or whose result is unknown.
	Returned int
	// Failures counts failures that the server answered while the key was healthy.
	// Timeouts and connection errors are never reported: the fault may be the
	// replica's own network.
	Failures int
	// Refusals counts refusals while the key was healthy, beyond those that a
	// replica tolerates.
	Refusals int
	// Well reports that a request succeeded without a permit. That ends a row of Failures, and
	// counts as the probe of a hold that is over: a replica that did not reach the store has
	// sent one by itself. It also counts as the probe of a hold that lasts less than 300 ms:
	// that is an assumption, of a replica that did not know of the success.
	Well bool
	// Remaining is what is left of a quota until its reset, in ResetIn; where
	// ResetIn is 0, no quota is known. NearExhaustion reports that the quota will be
	// used up before all replicas have learned of it, and Inconsistent that the
	// numbers contradict each other.
	Remaining      int
	ResetIn        time.Duration
	NearExhaustion bool
	Inconsistent   bool
	// Status is the last status code among all those.
	Status int
	// Hint is how much is left of the longest hint that the server gave.
	// ServerDirected reports that it holds every request; else it is of requests that
	// are refused while others are served.
	Hint           time.Duration
	ServerDirected bool
	// Want is how many permits, or turns, the replica has use for, and Patience is how
	// long it would wait for the last of the turns.
	Want     int
	Patience time.Duration
	// Lease is how long a probe of this replica may take.
	Lease time.Duration
}

// Totals are the reports since the last decision, added up. All of it commutes:
// counters add up, times are maxima, and of two quotas the later window counts, or
// the smaller remainder in one window.
type Totals struct {
	Good, Bad, Refused int
	Returned           int
	Failures, Refusals int
	Hints              int    // hints that came without another result
	RetryAt            Millis // the latest time that hints asked for which hold no other request
	Remaining          int
	ResetAt            Millis
	NearExhaustion     bool
	Inconsistent       bool
}

const (
	// maxCount bounds every counter.
	maxCount = 1 << 30
	// MaxReported bounds what one report adds to a counter.
	MaxReported = 1 << 16
)

func plus(a, b int) int { return min(a+within(b, MaxReported), maxCount) }

// addResults adds the results of permits.
func (t *Totals) addResults(r Report) {
	t.Good, t.Bad, t.Refused = plus(t.Good, r.Good), plus(t.Bad, r.Bad), plus(t.Refused, r.Refused)
	t.Returned = plus(t.Returned, r.Returned)
}

// addQuota adds what a replica knows of a quota.
func (t *Totals) addQuota(r Report, now Millis, longest time.Duration) {
	if r.Inconsistent {
		t.Inconsistent = true
	}
	if r.ResetIn <= 0 || r.ResetIn > longest || r.Inconsistent {
		return
	}
	const slack = Millis(QuotaSlack / time.Millisecond)
	reset, remaining := now+toMillis(r.ResetIn), within(r.Remaining, maxCount)
	switch {
	case reset > t.ResetAt+slack:
		t.Remaining, t.ResetAt, t.NearExhaustion = remaining, reset, r.NearExhaustion
	case reset >= t.ResetAt-slack:
		t.Remaining, t.ResetAt = min(t.Remaining, remaining), min(t.ResetAt, reset)
		t.NearExhaustion = t.NearExhaustion || r.NearExhaustion
	}
}

// without returns the totals that came after seen.
func (t Totals) without(seen Totals) Totals {
	t.Good, t.Bad, t.Refused = max(t.Good-seen.Good, 0), max(t.Bad-seen.Bad, 0), max(t.Refused-seen.Refused, 0)
	t.Returned, t.Failures = max(t.Returned-seen.Returned, 0), max(t.Failures-seen.Failures, 0)
	t.Refusals, t.Hints = max(t.Refusals-seen.Refusals, 0), max(t.Hints-seen.Hints, 0)
	if t.RetryAt == seen.RetryAt {
		t.RetryAt = 0
	}
	if t.ResetAt == seen.ResetAt && t.Remaining == seen.Remaining && t.Inconsistent == seen.Inconsistent {
		t.Remaining, t.ResetAt, t.NearExhaustion, t.Inconsistent = 0, 0, false, false
	}
	return t
}

// bounded returns totals that a machine can take in one by one, whatever wrote them.
func (t Totals) bounded() Totals {
	for _, n := range []*int{
		&t.Good, &t.Bad, &t.Refused, &t.Returned, &t.Failures, &t.Refusals, &t.Hints,
	} {
		*n = within(*n, 1<<20)
	}
	t.Remaining = within(t.Remaining, maxCount)
	return t
}

// attempts is how many attempts that failed the totals hold.
func (t *Totals) attempts() int { return t.Bad + t.Refused + t.Failures + t.Hints }

// NotShared is the error of a store that works, but does not share this key, for
// example because it keeps too many.
type NotShared string

// Behind is the error of a report that may be of what an operator has cleared since: the
// store took nothing of it in, and knows the clear by the time it returns this.
const Behind = NotShared("holdoff: the replica did not know yet what was cleared")

// Error says why the key is not shared.
func (e NotShared) Error() string { return string(e) }
