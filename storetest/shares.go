package storetest

import (
	"context"
	"time"

	"github.com/go-holdoff/holdoff"
)

// draw draws on the limit of the key, where the store shares limits.
func (p *replica) draw(c holdoff.LimitClaim) (holdoff.LimitGrant, bool) {
	store, ok := p.store.(holdoff.LimitStore)
	if !ok {
		return holdoff.LimitGrant{}, false
	}
	got, err := store.Draw(context.Background(), p.rig.key+"|tokens", c)
	if err != nil {
		p.rig.notNow(err)
	}
	return got, true
}

// waits checks what a grant says.
func (r *rig) waits(got holdoff.LimitGrant, wait time.Duration, drawn float64, why string) {
	if (got.Wait-wait).Abs() > slack || got.Drawn != drawn {
		r.fatalf("%s: a wait of %v, and %v drawn in all; want %v and %v", why, got.Wait, got.Drawn, wait, drawn)
	}
}

// bucket is a claim of a bucket of 100 that is refilled by 10 per second.
func bucket(amount float64) holdoff.LimitClaim {
	return holdoff.LimitClaim{Full: 100, Rate: 10, Amount: amount, Level: 100, Said: -1}
}

// Limits that replicas share out: rules of a holdoff.LimitStore.
var shareRules = []rule{
	{"replicas that draw on one limit stand in one line", func(r *rig) {
		got, ok := r.a.draw(bucket(100))
		if !ok {
			return
		}
		begun := time.Now()
		r.waits(got, 0, 100, "all of a full bucket")
		b, _ := r.b.draw(bucket(50))
		a, _ := r.a.draw(bucket(20))
		r.before(begun.Add(slack))
		r.waits(b, 5*time.Second, 150, "half a bucket more")
		r.waits(a, 7*time.Second, 170, "a fifth, behind that")
	}},
	{"what is given back of a limit may be drawn again", func(r *rig) {
		if _, ok := r.a.draw(bucket(100)); !ok {
			return
		}
		begun := time.Now()
		r.a.draw(bucket(-60))
		got, _ := r.b.draw(bucket(60))
		r.before(begun.Add(slack))
		r.waits(got, 0, 100, "what was given back")
	}},
	{"what an answer says of a limit counts, less what was drawn since", func(r *rig) {
		if _, ok := r.a.draw(bucket(10)); !ok {
			return
		}
		begun := time.Now()
		r.b.draw(bucket(30))
		said := bucket(5)
		said.Said, said.Mark = 40, 10
		got, _ := r.b.draw(said)
		r.waits(got, 0, 45, "five more, of the forty less thirty")
		said.Said, said.Mark, said.Amount = 90, 5, 25
		got, _ = r.a.draw(said)
		r.before(begun.Add(slack))
		r.waits(got, 2*time.Second, 70, "25 more of five, whatever an earlier answer said")
	}},
	{"a window is full again at its reset", func(r *rig) {
		window := holdoff.LimitClaim{Full: 10, Reset: 500 * ms, Length: time.Second, Amount: 10, Level: 10, Said: -1}
		got, ok := r.a.draw(window)
		if !ok {
			return
		}
		end := time.Now().Add(500 * ms)
		r.waits(got, 0, 10, "all of a window")
		window.Reset = time.Until(end)
		got, _ = r.b.draw(window)
		r.before(end)
		r.waits(got, time.Until(end), 20, "all of the next one")
		window.Reset = time.Until(end)
		got, _ = r.b.draw(window)
		r.before(end)
		r.waits(got, time.Until(end)+time.Second, 30, "all of the one after that")
	}},
}
