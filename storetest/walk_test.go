package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// A process alone and a fleet over a store come to the same states by the same
// results: a Machine takes in each result at once, a Record adds them up and has a
// replica decide. That RedisStore keeps the same Record as MemoryStore is what the
// random walk of internal/redisstore shows.
//
// The walk leaves out, by construction, what differs by design:
//   - A fleet needs two witnesses of an outage. Here two replicas report failures.
//   - A fleet takes successes of a round for earlier than its failures. Here they are.
//   - A fleet learns level and generation of a hinted hold at its end. They are compared then.
//   - Results that arrive during a hold are late for a process, and count as attempts in
//     a fleet. Here none do, and attempts are not compared.
//   - A fleet takes in the results of a round, where no alarm is raised, at its end. Here no
//     cooldown ends in a round with refusals.
//   - A hint of before the last hold raises the level in a fleet: it does not know of
//     which generation a hint is. Here all are of the present one.
//   - A process takes back permits of a ramp that were not used. A fleet takes back a probe's.
//   - A process spreads the permits of a slot, and never counts a request as denied that
//     waits for its turn. Here no more permits are wanted than there are.
//   - A Record has times in whole milliseconds. Here all times and lengths are, so that
//     rates are of 100 per second or more, at which a slot is 100 ms.
type walk struct {
	t      *testing.T
	rng    *rand.Rand
	jitter hold.Jitter
	trace  []string

	alone  hold.Machine
	permit hold.Permit // of the present round

	store   *holdoff.MemoryStore
	told    state // by the watch
	shared  state
	memory  hold.Memory // of the last decision
	permits int         // of the shared round
	granted int         // how many of them are taken
	calls   uint64
	hinted  bool   // the store has a hint that no decision has seen
	offset  uint64 // between the two counts of generations
	resetAt time.Time
	visited map[holdoff.Phase]int
}

func TestWalk_ProcessAloneAndStoreAgree(t *testing.T) {
	seeds, visited := uint64(300), make(map[holdoff.Phase]int)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			w := &walk{t: t, rng: rand.New(rand.NewPCG(seed, 13)), store: &holdoff.MemoryStore{}, visited: visited}
			share := time.Duration(w.rng.IntN(101))
			w.jitter = func(d time.Duration) time.Duration { return (d * share / 100).Truncate(ms) }
			// A record that is watched is not forgotten, as the machine is not here.
			defer w.store.Watch("key", func(s state) { w.told = s })()
			for range 200 {
				w.step()
				if t.Failed() {
					t.Fatalf("seed %d:\n%s", seed, strings.Join(w.trace[max(len(w.trace)-12, 0):], "\n"))
				}
			}
		})
	}
	for _, p := range hold.Phases {
		if visited[p] < int(seeds) {
			t.Errorf("%d of %d steps in %v: too few to say much", visited[p], 200*seeds, p)
		}
	}
	t.Log(visited)
}

func (w *walk) step() {
	phase := w.alone.Phase()
	w.visited[phase]++
	switch phase {
	case holdoff.Healthy:
		w.healthy()
	case holdoff.Held:
		w.held()
	case holdoff.Probing:
		w.probing()
	case holdoff.Ramping:
		w.ramping()
	case holdoff.Counted:
		w.counted()
	case holdoff.Paced, holdoff.Rationed:
		w.limited()
	}
}

// one reports whether a thing happens that happens once in n times.
func (w *walk) one(n int) bool { return w.rng.IntN(n) == 0 }

func (w *walk) between(least, most int) int { return least + w.rng.IntN(most-least+1) }

func (w *walk) healthy() {
	switch w.rng.IntN(7) {
	case 0:
		time.Sleep(time.Duration(w.between(1, 3000)) * ms)
		if w.one(10) {
			time.Sleep(70 * time.Second)
		}
	case 1, 2:
		n := w.between(2, 12)
		w.record(n, hold.Result{Lesson: hold.Failed, Status: 503})
		w.exchange("a", report{Failures: n / 2, Status: 503})
		w.exchange("b", report{Failures: n - n/2, Status: 503})
	case 3:
		w.record(1, hold.Result{Lesson: hold.Good})
		w.exchange("a", report{Well: true})
	case 4:
		w.hint()
	case 5:
		w.alone.Measure(time.Now())
		w.exchange("b", report{Refusals: 1, Status: 429})
	case 6:
		w.results(report{Good: 1, Well: true}, w.quota())
	}
	w.compare("healthy")
}

func (w *walk) held() {
	if w.one(4) {
		w.hint()
		w.compare("another hint")
		return
	}
	w.ask()
}

// ask sleeps until the hold or the lease is over, and wants to send.
func (w *walk) ask() {
	w.sleepTo(w.alone.Until())
	if w.one(30) {
		time.Sleep(70 * time.Second)
	}
	permit, ok := w.alone.Grant(time.Now(), time.Second, w.jitter)
	w.permit = permit
	s := w.exchange("b", report{Want: 1})
	if granted := s.Permits == 1 || s.Phase == holdoff.Healthy; granted != ok {
		w.t.Errorf("alone: may send %v, shared: %+v", ok, s)
	}
	w.compare("a request")
}

func (w *walk) probing() {
	switch w.rng.IntN(8) {
	case 0:
		w.ask() // the probe is lost
		return
	case 1:
		w.record(1, hold.Result{Lesson: hold.Nothing, Permit: w.permit})
		w.exchange("a", report{Generation: w.shared.Generation, Returned: 1})
		w.compare("a probe that was not made")
		w.ask()
		return
	case 2:
		w.results(report{Bad: 1, Status: 503}, hold.Quota{})
	case 3:
		w.results(report{Refused: 1, Status: 429, Hint: time.Duration(w.between(0, 1900)) * ms}, hold.Quota{})
	case 4:
		w.hint()
	default:
		w.results(report{Good: 1}, hold.Quota{})
	}
	w.compare("the result of a probe")
}

func (w *walk) ramping() {
	all := w.alone.PermitsLeft()
	n := w.take([]int{0, all, all, all, all, (all + 1) / 2, all / 3}[w.rng.IntN(7)])
	cooldown := time.Until(w.memory.CooldownUntil.Time())
	refusable := cooldown > 2*hold.Slot || (cooldown <= 0 && all >= 32)
	switch {
	case n == 0:
	case w.one(12):
		w.hint()
	case w.one(8):
		w.results(report{Bad: n, Status: 503}, hold.Quota{})
	case w.one(8):
		w.results(report{Good: n - 1, Bad: 1, Status: 503}, hold.Quota{})
	case w.one(12): // the answers are slow
	case refusable && w.one(2):
		w.results(w.refused(n), hold.Quota{})
	default:
		w.results(report{Good: n, GoodRetries: n / 2}, hold.Quota{})
	}
	w.compare("results of a ramp")
	w.endRound(holdoff.Ramping)
}

func (w *walk) counted() {
	switch w.rng.IntN(4) {
	case 0:
		w.results(report{Good: w.between(100, 400), Refused: w.between(0, 5), Status: 429}, hold.Quota{})
	case 1:
		w.results(report{Refused: w.between(1, 30), Status: 429, Hint: time.Duration(w.between(0, 1900)) * ms}, hold.Quota{})
	default:
		w.results(report{Good: w.between(150, 400), Bad: w.between(0, 3), Refused: w.between(40, 200), Status: 429}, hold.Quota{})
	}
	w.compare("results of a measurement")
	w.endRound(holdoff.Counted)
}

func (w *walk) limited() {
	phase, all := w.alone.Phase(), w.alone.PermitsLeft()
	n := w.take([]int{0, all, all, all, all, 3 * all / 4, all / 3}[w.rng.IntN(7)])
	fast := w.alone.Snapshot().Rate >= 140
	switch {
	case w.one(25):
		w.hint()
	case w.one(40):
		w.results(report{Bad: 25, Status: 503}, hold.Quota{})
	case n == 0:
	case phase == holdoff.Rationed && w.one(6):
		w.results(w.refused(n), hold.Quota{})
	case phase == holdoff.Rationed && w.one(6):
		w.results(report{Good: n}, hold.Quota{Remaining: 0, ResetAt: w.resetAt})
	case phase == holdoff.Rationed && w.one(10):
		w.results(report{Good: n}, hold.Quota{Inconsistent: true})
	case phase == holdoff.Paced && w.one(15):
		w.results(report{Good: n}, w.quota())
	case phase == holdoff.Paced && fast && w.one(3):
		w.results(w.refused(n), hold.Quota{})
	default:
		w.results(report{Good: n, GoodRetries: w.rng.IntN(n + 1)}, hold.Quota{})
	}
	w.compare("results of a slot")
	w.endRound(phase)
}

// refused returns results of n permits of which some were refused.
func (w *walk) refused(n int) report {
	bad := w.between(1, n)
	if w.one(3) {
		bad = (n + 9) / 10
	}
	return report{Good: n - bad, Refused: bad, RefusedRetries: w.rng.IntN(bad + 1), Status: 429, Hint: time.Duration(w.between(0, 1900)) * ms}
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
	for range n {
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
	}
	w.sleepTo(time.Now())
	if s := w.exchange("b", report{Want: taken}); s.Permits != taken {
		w.t.Errorf("alone: %d permits, shared: %d", taken, s.Permits)
	}
	return taken
}

// results are results of permits, and perhaps the news of a quota.
func (w *walk) results(r report, q hold.Quota) {
	permit := hold.Permit{Generation: w.alone.Generation(), Round: w.alone.Round(), Limited: w.alone.Phase() != holdoff.Healthy}
	each := func(n int, retries func(i int) bool, result hold.Result) {
		for i := range n {
			result.Permit = permit
			result.Retry = retries(i)
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
	each(r.Good-1, func(i int) bool { return i >= r.Good-r.GoodRetries }, good)
	each(min(r.Good, 1), func(int) bool { return r.GoodRetries > 0 }, last)
	each(r.Bad, func(int) bool { return false }, hold.Result{Lesson: hold.Failed, Status: r.Status, Hint: r.Hint})
	each(r.Refused, func(i int) bool { return i < r.RefusedRetries }, hold.Result{Lesson: hold.Refused, Status: r.Status, Hint: r.Hint})
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

// endRound sleeps until the round is over, and a little longer, and has it ended.
func (w *walk) endRound(phase holdoff.Phase) {
	if w.t.Failed() || w.alone.Phase() != phase {
		return
	}
	w.sleepTo(w.alone.Until().Add(time.Duration(w.rng.IntN(30)) * ms * time.Duration(w.rng.IntN(2))))
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
	if left := w.permits - w.granted; a.Phase != holdoff.Healthy && a.Phase != holdoff.Counted && a.Permits != left {
		w.t.Errorf("%s: alone %d permits are left, shared %d", what, a.Permits, left)
	}
	if a.Level != s.Level || a.Rate != s.Rate {
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
