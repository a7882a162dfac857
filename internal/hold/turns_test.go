package hold

import (
	"math/rand/v2"
	"testing"
	"time"
)

func turnsOf(rate float64, n int, first time.Time) Turns {
	var t Turns
	t.Add(n, Snapshot{Permits: n, First: first, Rate: rate}, registerTime)
	return t
}

func TestTurns_AreUsedWhenTheyAreDue(t *testing.T) {
	turns := turnsOf(100, 3, registerTime)
	for i, step := range []struct {
		at   time.Duration
		want bool
	}{{-ms, false}, {0, true}, {0, false}, {9 * ms, false}, {10 * ms, true}, {25 * ms, true}, {time.Second, false}} {
		if got := turns.Take(registerTime.Add(step.at)); got != step.want {
			t.Errorf("step %d, %v: a turn %v, want %v", i, step.at, got, step.want)
		}
	}
}

// A process that was paused does not send all that it missed at once.
func TestTurns_ThatAreLateLapse(t *testing.T) {
	turns := turnsOf(100, 500, registerTime)
	now, used := registerTime.Add(2*time.Second), 0
	for turns.Take(now) {
		used++
	}
	if used > 11 || turns.Len() != 500-200-1 {
		t.Errorf("after two seconds %d turns are used at once, and %d left; want those of a slot, and 299", used, turns.Len())
	}
	slow := turnsOf(0.5, 2, registerTime)
	if !slow.Take(registerTime.Add(1900 * ms)) {
		t.Error("a turn every two seconds lapses before the next comes")
	}
}

func TestTurns_OfSeveralRepliesComeInOrder(t *testing.T) {
	turns := turnsOf(100, 2, registerTime.Add(100*ms))
	turns.Add(2, Snapshot{Permits: 2, First: registerTime.Add(50 * ms), Rate: 100}, registerTime) // a reply that was overtaken
	var got []time.Duration
	for {
		at, ok := turns.Next()
		if !ok || !turns.Take(at) {
			break
		}
		got = append(got, at.Sub(registerTime))
	}
	want := []time.Duration{50 * ms, 60 * ms, 100 * ms, 110 * ms}
	if len(got) != 4 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("turns at %v, want %v", got, want)
	}
}

func TestTurns_ChangeOfTheRateMovesThem(t *testing.T) {
	turns := turnsOf(100, 100, registerTime.Add(time.Second))
	turns.Retime(50, registerTime)
	at, _ := turns.Next()
	if at.Sub(registerTime) != 2*time.Second {
		t.Errorf("at half the rate, the first comes in %v", at.Sub(registerTime))
	}
	turns.Take(at)
	if next, _ := turns.Next(); next.Sub(at) != 20*ms {
		t.Errorf("the next comes %v after it", next.Sub(at))
	}
	for _, rate := range []float64{0, -1} {
		before := turns.rate
		turns.Retime(rate, registerTime)
		if next, ok := turns.Next(); !ok || next.Sub(registerTime) > time.Hour {
			t.Errorf("a rate of %v: the next comes in %v", rate, next.Sub(registerTime))
		}
		turns.rate = before
	}
}

func TestTurns_AskForWhatIsWanting(t *testing.T) {
	now := registerTime
	var none Turns
	if at, ok := none.Ask(0, now); ok {
		t.Errorf("nobody waits, and asks in %v", at.Sub(now))
	}
	if at, ok := none.Ask(1, now); !ok || at.After(now) {
		t.Errorf("the first asks %v, in %v; want at once", ok, at.Sub(now))
	}
	turns := turnsOf(100, 100, now)
	if _, ok := turns.Ask(100, now); ok {
		t.Error("a hundred have a hundred turns, and ask")
	}
	// The line is a second long: some others may join in a tenth of it.
	if at, ok := turns.Ask(101, now.Add(ms)); !ok || at.Sub(now) < 90*ms || at.Sub(now) > 110*ms {
		t.Errorf("one without a turn asks %v, in %v", ok, at.Sub(now))
	}
	long := turnsOf(1, 1000, now)
	if at, _ := long.Ask(1001, now); at.Sub(now) != gatherMost {
		t.Errorf("in a line of 1,000 s it asks in %v", at.Sub(now))
	}
}

func TestTurns_ThatWereNotHadAreNotAskedForAtOnce(t *testing.T) {
	var turns Turns
	turns.Add(3, Snapshot{Rate: 100, First: registerTime.Add(-time.Hour)}, registerTime)
	if at, ok := turns.Ask(3, registerTime); !ok || at.Sub(registerTime) < Slot {
		t.Errorf("asks again %v, in %v", ok, at.Sub(registerTime))
	}
}

func TestTurns_AtTellsOfThoseItHasAndOfTheNext(t *testing.T) {
	turns := turnsOf(100, 10, registerTime)
	now := registerTime.Add(ms)
	for n, want := range map[int]time.Duration{1: 0, 10: 90 * ms, 11: 100 * ms, 21: 200 * ms} {
		if at, known := turns.At(n, now); !known || at.Sub(registerTime) != want {
			t.Errorf("turn %d comes at %v, known %v; want %v", n, at.Sub(registerTime), known, want)
		}
	}
	long := registerTime.Add(gatherMost + ms)
	if _, known := turns.At(11, long); known {
		t.Error("what was told long ago is believed")
	}
	if _, known := turns.At(10, long); !known {
		t.Error("a turn that the replica has is not known")
	}
}

// Replicas that ask one register get each turn once, and all of them.
func TestTurns_OfAFleetAreEachUsedOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r := Record{Rev: 1, Phase: Paced, Generation: 7, Began: millis(registerTime), Until: millis(registerTime.Add(time.Hour)), Permits: 1 << 20}
	r.Gap, r.Memory.Rate = 5*ms, 200
	var fleet [20]Turns
	used := 0
	for now := registerTime; now.Sub(registerTime) < 10*time.Second; now = now.Add(ms) {
		i := rng.IntN(len(fleet))
		if want := rng.IntN(8); fleet[i].Len() == 0 && want > 0 {
			fleet[i].Add(want, r.Add(Report{Want: want, Patience: time.Minute}, now, time.Hour).Snapshot, now)
		}
		for i := range fleet {
			for fleet[i].Take(now) {
				used++
			}
		}
		if most := int(now.Sub(registerTime)/(5*ms)) + 1; used > most {
			t.Fatalf("%d were sent in %v, want %d at most", used, now.Sub(registerTime), most)
		}
	}
	if used < 1980 {
		t.Errorf("%d of 2,000 turns were used", used)
	}
}
