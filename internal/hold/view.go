package hold

import "time"

// What a record shows to replicas.

// heldUntil is the end of the round of a key that is held.
func (r *Record) heldUntil() Millis {
	if r.Phase != Held {
		return 0
	}
	return r.Until
}

// Snapshot returns the state as replicas follow it. A hint that no decision has
// seen yet is a hold.
func (r *Record) Snapshot() Snapshot {
	v := r.view()
	return Snapshot{
		Phase: v.phase, Until: v.until.Time(), Generation: r.Generation, Rate: r.Memory.Rate, Level: r.Memory.Level, ServerDirected: v.directed,
		Attempts: r.Attempts, Last: r.LastFailure.Time(), Status: r.Status, Witnesses: len(r.Witnesses),
	}
}

// view is what a replica sees of a record.
type view struct {
	phase    Phase
	until    Millis
	directed bool
	failing  bool
}

// differs reports whether v is news for the other replicas. A hold that grows by
// less than a slot is none: a replica that asks too early is told.
func (v view) differs(before view) bool {
	grown := v.until - before.until
	paced := v.phase == Paced || v.phase == Rationed // replicas ask for permits by themselves
	return v.phase != before.phase || v.failing != before.failing ||
		(grown != 0 && !paced && !(v.phase == Held && 0 < grown && grown < toMillis(Slot)))
}

// Forgettable reports whether nothing is left in the record that a later request
// would need.
func (r *Record) Forgettable(now time.Time) bool {
	at := millis(now)
	pending := r.Totals.Refusals > 0 || r.Totals.Failures > 0 || r.Totals.NearExhaustion || at < r.ClaimUntil
	return r.Phase == Healthy && r.HintUntil == 0 && r.Attempts == 0 && at >= r.Keep && !pending
}

func (r *Record) clone() Record {
	c := *r
	c.Witnesses = make(map[string]uint64, len(r.Witnesses))
	for replica := range r.Witnesses {
		c.Witnesses[replica] = r.Witnesses[replica]
	}
	return c
}
