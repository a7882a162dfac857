package admission

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// fullTable returns a Transport's table of n keys at each of which a request
// waits.
func fullTable(tb testing.TB, n int) *Table {
	tb.Helper()
	gs := &Table{emit: func(Change) {}}
	for i := range n {
		waitAt(tb, gs.Key(named(fmt.Sprintf("waited-%d.example", i))), 1, false)
	}
	return gs
}

// waitAt holds g for an hour, and puts n requests in its line that have more
// patience than that.
func waitAt(tb testing.TB, g *Key, n int, retry bool) {
	tb.Helper()
	g.unlocked(func() { enterPhase(&g.whole, hold.Held, 0, time.Now().Add(time.Hour)) })
	latest := time.Now().Add(3 * time.Hour)
	for i := range n {
		if inLine, err := g.Enqueue(&Waiter{Latest: latest.Add(time.Duration(i)), Retry: retry}); !inLine {
			tb.Fatalf("a request of a held key does not wait: %v", err)
		}
	}
}

// What a request to a new host costs where requests wait at more keys than the
// table remembers.
func BenchmarkNewKeyAmongWaited(b *testing.B) {
	gs := fullTable(b, maxKeys+1)

	i := 0
	for b.Loop() {
		name := named(fmt.Sprint("new-", i))
		gs.Key(name)
		i++
	}
}

// What one refusal costs under the gate's lock while 50,000 requests wait: each
// refusal in flight ends a little later than the one before.
func BenchmarkRefusalWithLongLine(b *testing.B) {
	g := newKey(named("h"), &Table{emit: func(Change) {}})
	waitAt(b, g, 50_000, false)
	for b.Loop() {
		g.record(hold.Permit{Generation: g.whole.hold.Generation()}, hold.Result{Lesson: hold.Refused, Hint: time.Hour, Status: 429})
	}
}

// What a probe costs while 50,000 requests wait that have all failed before.
func BenchmarkProbeWithLongLine(b *testing.B) {
	g := newKey(named("h"), &Table{emit: func(Change) {}})
	waitAt(b, g, 50_000, true)
	for b.Loop() {
		w := &Waiter{Latest: time.Now().Add(3 * time.Hour), Retry: true}
		if _, err := g.Enqueue(w); err != nil {
			b.Fatal(err)
		}
		g.unlocked(func() { enterPhase(&g.whole, hold.Probing, 1, time.Now().Add(time.Hour)) })
	}
}

// What it costs to let 100,000 requests go that wait for a key.
func BenchmarkAdmitLongLine(b *testing.B) {
	const n = 100_000
	g := newKey(named("h"), &Table{emit: func(Change) {}})
	for b.Loop() {
		b.StopTimer()
		waitAt(b, g, n, false)
		b.StartTimer()
		g.unlocked(func() { enterPhase(&g.whole, hold.Ramping, n, time.Now().Add(time.Hour)) })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/waiter")
}

// What it costs that 100,000 requests leave the line of a key together.
func BenchmarkLeaveLongLine(b *testing.B) {
	const n = 100_000
	g := newKey(named("h"), &Table{emit: func(Change) {}})
	latest := time.Now().Add(3 * time.Hour)
	waiters := make([]*Waiter, n)
	for b.Loop() {
		b.StopTimer()
		waitAt(b, g, 0, false)
		for i := range waiters {
			waiters[i] = &Waiter{Latest: latest.Add(time.Duration(i))}
			g.Enqueue(waiters[i])
		}
		b.StartTimer()
		for i := range waiters {
			g.Leave(waiters[(i*7919)%n], false) // 7919 and n have no common factor: each leaves once
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/waiter")
}
