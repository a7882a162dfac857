package storetest

import (
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
//   - A report adds at most 65,536 to a counter. Here no result comes of more permits.
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
			defer w.store.Watch("key", func(_ string, s state) { w.told = s })()
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
	t.Logf("steps by phase: %v", visited)
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
	if w.calls%8 == 0 { // as a replica that does not reach the store
		w.sleepTo(w.alone.Until())
		w.permit, _ = w.alone.Grant(time.Now(), time.Second, w.jitter)
		w.record(1, hold.Result{Lesson: hold.Good, Permit: w.permit})
		w.exchange("b", report{Well: true})
		w.compare("a success after the hold")
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
		w.results(report{Good: n}, hold.Quota{})
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
		w.results(report{Good: n}, hold.Quota{})
	}
	w.compare("results of a slot")
	w.endRound(phase)
}
