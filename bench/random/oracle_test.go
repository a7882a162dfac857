package random

import (
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// Where all callers have the same patience, first come, first served is the best that can be
// done, except for the shares of several limits: so the bound is tight.
func TestOracle_BoundsWhatAQueueServes(t *testing.T) {
	for seed := range uint64(300) {
		d := New(seed)
		asks := d.Asks()
		bound, served := d.Oracle(asks), d.ideal(asks).Served
		if served > bound || d.Impatient == d.Work.Timeout && float64(served) < 0.97*float64(bound) {
			t.Errorf("seed %d: of %d requests a queue serves %d, and the bound is %d: %v", seed, len(asks), served, bound, d)
		}
	}
}

// steady returns n requests per second for so long, whose callers wait so long.
func steady(n int, length, patience time.Duration) (asks []fleet.Ask) {
	for at := time.Duration(0); at < length; at += time.Second / time.Duration(n) {
		asks = append(asks, fleet.Ask{At: at, Patience: patience})
	}
	return asks
}

func TestOracle_KnownServers(t *testing.T) {
	second := time.Second
	always := func(t Trouble) Draw { t.To = 1000 * second; return Draw{Troubles: []Trouble{t}} }
	queue := Draw{Host: Host{Workers: 5, Room: 10, Work: 100 * time.Millisecond}}
	broken := Draw{Unreachable: 1}
	for name, c := range map[string]struct {
		Draw
		patience time.Duration
		want     int // of 1000 requests, 100 per second
	}{
		"no trouble":                 {Draw{}, second, 1000},
		"broken":                     {broken, second, 0},
		"outage for 4 s":             {Draw{Troubles: []Trouble{{Kind: Outage, From: 2 * second, To: 6 * second}}}, second, 700},
		"outage, patient":            {Draw{Troubles: []Trouble{{Kind: Outage, From: 2 * second, To: 6 * second}}}, 5 * second, 1000},
		"bucket of half":             {always(Trouble{Kind: Bucket, Rate: 50, Burst: 1}), second, 550},
		"bucket of half, patient":    {always(Trouble{Kind: Bucket, Rate: 50, Burst: 1}), 10 * second, 1000},
		"quota of half":              {always(Trouble{Kind: Quota, Limit: 100, Window: 2 * second}), 100 * time.Millisecond, 510},
		"quota of half, not there":   {always(Trouble{Kind: Quota, Limit: 100, Window: 2 * second, Lax: true}), second, 1000},
		"concurrency of half":        {always(Trouble{Kind: Concurrency, InFlight: 5, Work: 100 * time.Millisecond}), second, 550},
		"workers for half":           {queue, second, 550},
		"workers for half, patient":  {queue, 5 * second, 745},
		"bucket, of another path":    {always(Trouble{Kind: Bucket, Rate: 1, Burst: 1, Part: Part{Paths, 1}}), second, 1000},
		"bucket, of a path":          {always(Trouble{Kind: Bucket, Rate: 50, Burst: 1, Part: Part{Paths, 0}}), second, 550},
		"flapping, 1 s, patient":     {Draw{Troubles: []Trouble{{Kind: Outage, To: 8 * second, Every: second}}}, 2 * second, 1000},
		"flapping, 1 s, not patient": {Draw{Troubles: []Trouble{{Kind: Outage, To: 8 * second, Every: second}}}, 500 * time.Millisecond, 800},
	} {
		got := c.Oracle(steady(100, 10*second, c.patience))
		if off := got - c.want; off < -10 || off > 10 {
			t.Errorf("%s: %d can be served, want about %d", name, got, c.want)
		}
	}
}

// A bucket that was not used for long lets through what it has stored, and no more, and its
// tokens go to those whose patience ends first.
func TestMost_Burst(t *testing.T) {
	l := limiter{burst: 3, stores: 3, curve: curve{{0, 1, 0}}}
	at := func(from, to float64) window {
		return window{from: time.Duration(from * float64(time.Second)), to: time.Duration(to * float64(time.Second))}
	}
	for _, c := range []struct {
		windows []window
		want    int
	}{
		{[]window{at(10, 10), at(10, 10), at(10, 10), at(10, 10), at(10, 10)}, 3},
		{[]window{at(10, 11), at(10, 11), at(10, 11), at(10, 11), at(10, 11)}, 4},
		{[]window{at(10, 11), at(10, 11), at(10, 11), at(10, 11), at(10, 30)}, 5},
		{[]window{at(10, 10), at(10, 10), at(10, 10), at(11, 11), at(11, 11)}, 4},
		{[]window{at(0, 100), at(50, 50), at(50, 50), at(50, 50)}, 4},
	} {
		if got := l.most(c.windows); got != c.want {
			t.Errorf("%v: %d, want %d", c.windows, got, c.want)
		}
	}
}
