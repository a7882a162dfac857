package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// What a walk does, to a process alone and to a store.

// mostTaken bounds the permits of a round that are used.
const mostTaken = 1 << 15

// refused returns results of n permits of which some were refused.
func (w *walk) refused(n int) report {
	bad := w.between(1, n)
	if w.one(3) {
		bad = (n + 9) / 10
	}
	return report{Good: n - bad, Refused: bad, Status: 429, Hint: time.Duration(w.between(0, 1900)) * ms}
}

// quota returns news of a quota that is nearly used up.
func (w *walk) quota() hold.Quota {
	seconds := w.between(2, 4)
	w.resetAt = time.Now().Add(time.Duration(seconds) * time.Second)
	return hold.Quota{Remaining: w.between(200, 400) * seconds, ResetAt: w.resetAt, NearExhaustion: true}
}

// take takes n permits, or as many as can be used before the round ends. A process
// alone spreads those of a slot over it.
func (w *walk) take(n int) int {
	taken := 0
	for range min(n, mostTaken) {
		if next := w.alone.NextSendAt(); w.alone.IsPaced() {
			if next.After(w.alone.Until().Add(-2 * ms)) {
				break
			}
			time.Sleep(time.Until(next))
		}
		permit, ok := w.alone.Grant(time.Now(), time.Second, w.jitter)
		if !ok {
			w.t.Errorf("alone: no permit after %d of %d", taken, n)
			return taken
		}
		w.permit = permit
		taken++
		if w.alone.IsPaced() {
			w.turn()
		}
	}
	w.sleepTo(time.Now())
	if w.alone.IsPaced() {
		return taken
	}
	taken = min(taken, w.permits-w.granted) // a turn may have been counted in another slot
	if s := w.exchange("b", report{Want: taken}); s.Permits != taken {
		w.t.Errorf("alone: %d permits, shared: %d", taken, s.Permits)
	}
	return taken
}

// turn asks the store for the turn of a permit that the process alone has just used.
func (w *walk) turn() {
	const slack = 25 * ms // a slot of a quota that is found late hurries
	if s := w.exchange("b", report{Want: 1, Patience: slack}); s.Permits != 1 {
		w.t.Errorf("alone: a permit; shared: %d turns, in %v", s.Permits, time.Until(s.First))
	}
}

// results are results of permits, and perhaps the news of a quota.
func (w *walk) results(r report, q hold.Quota) {
	permit := hold.Permit{Generation: w.alone.Generation(), Round: w.alone.Round(), Limited: w.alone.Phase() != holdoff.Healthy}
	each := func(n int, result hold.Result) {
		for range n {
			result.Permit = permit
			w.alone.Record(result, time.Now(), w.jitter)
		}
	}
	now := time.Now()
	good := hold.Result{Lesson: hold.Good}
	if good.HasQuota = q != (hold.Quota{}); good.HasQuota {
		good.Quota = q
		r.Remaining, r.NearExhaustion, r.Inconsistent = q.Remaining, q.NearExhaustion, q.Inconsistent
		r.ResetIn = max(q.ResetAt.Sub(now), 0)
	}
	last := good
	good.HasQuota = false // the last answer is the one that tells of it
	each(r.Good-1, good)
	each(min(r.Good, 1), last)
	each(r.Bad, hold.Result{Lesson: hold.Failed, Status: r.Status, Hint: r.Hint})
	each(r.Refused, hold.Result{Lesson: hold.Refused, Status: r.Status, Hint: r.Hint})
	if r.Generation = w.shared.Generation; r.Well {
		r.Good = 0 // a key that is healthy has no permits
	}
	w.exchange("a", r)
}

// record has the process alone learn of n results.
func (w *walk) record(n int, result hold.Result) {
	for range n {
		if !result.Limited {
			result.Generation = w.alone.Generation()
		}
		w.alone.Record(result, time.Now(), w.jitter)
	}
}

// hint is one that the server gives, and that holds every request.
func (w *walk) hint() {
	d := time.Duration(w.between(100, 6000)) * ms
	w.record(1, hold.Result{Lesson: hold.Refused, Hint: d, ServerDirected: true, Status: 429})
	w.hinted = true
	w.exchange("a", report{Hint: d, ServerDirected: true, Status: 429})
}

// endRound sleeps until the round is over, and a little longer, and has it ended. A
// process alone makes up for a slot that it found late; a schedule does not.
func (w *walk) endRound(phase holdoff.Phase) {
	if w.t.Failed() || w.alone.Phase() != phase {
		return
	}
	late := time.Duration(w.rng.IntN(30)) * ms * time.Duration(w.rng.IntN(2))
	if phase == holdoff.Paced {
		late = 0
	}
	w.sleepTo(w.alone.Until().Add(late))
	w.alone.Advance(time.Now(), w.jitter)
	w.exchange("b", report{})
	w.compare("the end of a round")
}

// sleepTo sleeps until a whole millisecond that is not before at.
func (w *walk) sleepTo(at time.Time) {
	if rounded := at.Truncate(ms); rounded.Before(at) {
		at = rounded.Add(ms)
	}
	time.Sleep(time.Until(at))
}

// exchange reports to the store, as replica, and decides where that is due.
func (w *walk) exchange(replica string, r report) state {
	w.calls++
	r.Replica, r.Call, r.Version, r.Lease = replica, w.calls, hold.Version, time.Second
	got, _ := w.store.Report(context.Background(), "key", r)
	w.granted += got.Snapshot.Permits
	if got.Decide {
		d := hold.Advance(got.Record, r, got.Now, got.MaxHold, w.jitter)
		got, _ = w.store.Commit(context.Background(), "key", d)
		w.memory, w.hinted, w.permits = d.Memory, false, d.Permits
		if d.NewRound {
			w.granted = 0
		}
		w.granted += got.Snapshot.Permits
		w.trace = append(w.trace, fmt.Sprintf("decided %v, %d until %v, %.3f per second", d.Phase, d.Permits, d.Until.Time().Format("05.000"), d.Memory.Rate))
	}
	w.shared = got.Snapshot
	w.trace = append(w.trace, fmt.Sprintf("%s  %+v", time.Now().Format("05.000000"), r))
	return got.Snapshot
}

// compare compares the two, field by field.
func (w *walk) compare(what string) {
	a, s := w.alone.Snapshot(), w.shared
	if w.told.Version > s.Version {
		s = w.told
	}
	w.trace = append(w.trace, fmt.Sprintf("%s  %s: alone %v, %d left until %v, level %d, %.3f per second", time.Now().Format("05.000000"), what, a.Phase, a.Permits,
		a.Until.Format("05.000000"), a.Level, a.Rate))
	if w.t.Failed() {
		return
	}
	if a.Phase != s.Phase {
		w.t.Errorf("%s: alone %+v, shared %+v", what, a, s)
		return
	}
	if a.Phase != holdoff.Healthy && !a.Until.Equal(s.Until) {
		w.t.Errorf("%s: alone until %v, shared until %v (%v later)", what, a.Until, s.Until, s.Until.Sub(a.Until))
	}
	if w.told.Phase != a.Phase {
		w.t.Errorf("%s: alone %v, and a watcher was told %v", what, a.Phase, w.told.Phase)
	}
	if w.hinted {
		return
	}
	if left := w.permits - w.granted; (a.Phase == holdoff.Probing || a.Phase == holdoff.Ramping) && max(a.Permits-left, left-a.Permits) > 1+w.permits/50 {
		w.t.Errorf("%s: alone %d permits are left, shared %d", what, a.Permits, left)
	}
	if a.Level != s.Level || !near(a.Rate, s.Rate) { // a turn more or less comes before the end of a round
		w.t.Errorf("%s: alone level %d and %v per second, shared level %d and %v per second", what, a.Level, a.Rate, s.Level, s.Rate)
	}
	if s.Generation != 0 {
		if w.offset == 0 {
			w.offset = s.Generation - a.Generation
		}
		if s.Generation-a.Generation != w.offset {
			w.t.Errorf("%s: alone generation %d, shared %d", what, a.Generation, s.Generation-w.offset)
		}
	}
}
