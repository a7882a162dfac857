package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A Fault begins at a time of the run, and ends after a while.
type Fault struct {
	Kind      string
	From, For time.Duration
	Replica   int
	Key       int
	Step      time.Duration // of the register's clock
	Loss      float64
	Twice     float64
	Slow      float64
	Delay     time.Duration
	Mood      mood
	Share     float64
	Hint      time.Duration
	Rate      float64
}

// String describes a fault.
func (f Fault) String() string {
	s := fmt.Sprintf("%.3f s, for %.3f s: %s", f.From.Seconds(), f.For.Seconds(), f.Kind)
	switch f.Kind {
	case "server":
		return s + fmt.Sprintf(" of key %d %v for %.0f%%, hint %v, rate %.1f/s", f.Key, f.Mood, 100*f.Share, f.Hint, f.Rate)
	case "partition", "crash":
		return s + fmt.Sprintf(" of replica %d", f.Replica)
	case "clock":
		return s + fmt.Sprintf(" steps by %v", f.Step)
	case "network":
		return s + fmt.Sprintf(" loses %.2f, doubles %.2f, delays %.2f, delay %v", f.Loss, f.Twice, f.Slow, f.Delay)
	}
	return s
}

var kinds = []string{"server", "server", "network", "partition", "crash", "down", "flush", "evict", "failover", "clock", "feed"}

func drawFault(rng *rand.Rand, c Config, from time.Duration) Fault {
	f := Fault{Kind: kinds[rng.IntN(len(kinds))], From: from, Replica: rng.IntN(c.Replicas), Key: rng.IntN(c.Keys)}
	f.For = time.Duration(rng.Int64N(int64(4 * time.Second)))
	switch f.Kind {
	case "server":
		return drawMood(rng, c, f.Key, from)
	case "network":
		f.Loss, f.Twice, f.Slow = 0.3*rng.Float64(), 0.2*rng.Float64(), 0.1*rng.Float64()
		f.Delay = time.Duration(rng.Int64N(int64(100 * time.Millisecond)))
	case "down", "partition":
		if rng.IntN(4) == 0 {
			f.For *= 6
		}
	case "clock":
		f.Step = []time.Duration{30 * time.Second, 20 * time.Minute, -30 * time.Second, -20 * time.Minute}[rng.IntN(4)]
		f.For = 0
	case "flush", "evict":
		f.For = 0
	case "feed":
		f.Loss = rng.Float64()
	}
	return f
}

func drawMood(rng *rand.Rand, c Config, key int, from time.Duration) Fault {
	f := Fault{Kind: "server", Key: key, From: from, Mood: mood(1 + rng.IntN(int(moods)-1)), Share: 1}
	f.For = time.Second + time.Duration(rng.Int64N(int64(6*time.Second)))
	if rng.IntN(4) == 0 {
		f.Share = 0.2 + 0.8*rng.Float64()
	}
	switch f.Mood {
	case throttling:
		f.Hint = 2*time.Second + time.Duration(rng.Int64N(int64(4*time.Second)))
		if rng.IntN(10) == 0 {
			f.Hint = 2 * MaxHold
		}
	case hinting, bucket:
		f.Hint = time.Duration(rng.Int64N(int64(1900 * time.Millisecond)))
	}
	f.Rate = c.Demand[key] * (0.1 + 0.9*rng.Float64())
	return f
}

// begin begins a fault, and schedules its end.
func (f *Fault) begin(s *Sim) {
	s.logf("fault: %v", *f)
	g, n, r := &s.register, &s.network, s.replicas[f.Replica]
	end := func() {}
	switch f.Kind {
	case "server":
		v := &s.servers[f.Key]
		*v = server{sim: s, key: f.Key, mood: f.Mood, share: f.Share, hint: f.Hint, rate: f.Rate, at: s.now}
		end = func() { *v = server{sim: s, key: f.Key} }
	case "network":
		n.drop, n.twice, n.slow, n.delay = f.Loss, f.Twice, f.Slow, f.Delay
		end = func() { n.drop, n.twice, n.slow, n.delay = 0, 0, 0, 0 }
	case "feed":
		n.mute = f.Loss
		end = func() { n.mute = 0 }
	case "partition":
		r.cut = true
		end = func() { r.cut = false }
	case "crash":
		if r.up {
			r.crash()
			end = r.boot
		}
	case "down":
		g.down = true
		end = func() { g.down = false }
	case "clock":
		g.step(f.Step)
	case "flush":
		g.flush()
	case "evict":
		g.evict(f.Key)
	case "failover":
		// What is copied now is what a replica of the store has when it takes over.
		g.save()
		end = func() {
			g.restore()
			for _, r := range s.replicas {
				r.mirror.reconnect(r) // the connections to the server that failed end
			}
		}
	}
	s.after(f.For, func() {
		end()
		s.logf("over: %v", f.Kind)
	})
}
