package sim

import "time"

// network carries messages between replicas and the register. Each message takes its
// own time, so that messages overtake each other.
type network struct {
	sim   *Sim
	delay time.Duration // the longest that a message usually takes
	drop  float64       // how many messages are lost
	twice float64       // how many arrive twice
	slow  float64       // how many take up to slowest
	mute  float64       // how many published changes are lost
}

const (
	usualDelay = 2 * time.Millisecond
	slowest    = 3 * time.Second
)

// send delivers a message between r and the register: never, once, or twice.
func (n *network) send(r *replica, deliver func()) {
	s := n.sim
	if r.cut || s.chance(n.drop) {
		return
	}
	copies := 1
	if s.chance(n.twice) {
		copies = 2
	}
	for range copies {
		d := 100*time.Microsecond + s.jitter(max(n.delay, usualDelay))
		if s.chance(n.slow) {
			d = s.jitter(slowest)
		}
		s.after(d, deliver)
	}
}

// publish sends a change to every replica.
func (n *network) publish(key int, a answer) {
	for _, r := range n.sim.replicas {
		if n.sim.chance(n.mute) {
			continue
		}
		life := r.life
		n.send(r, func() {
			if r.up && r.life == life {
				r.mirror.hear(r, key, a)
			}
		})
	}
}

// storeTimeout bounds a call of the store (internal/admission).
const storeTimeout = 250 * time.Millisecond

// call calls the register, and calls done once: with the answer, or without one. A
// call that is given up may still arrive at the register.
func (n *network) call(r *replica, op func() answer, done func(answer, bool)) {
	s, life := n.sim, r.life
	over := false
	finish := func(a answer, ok bool) {
		if !over && r.up && r.life == life {
			over = true
			done(a, ok)
		}
	}
	if s.register.down && s.chance(0.5) {
		// The connection is refused. Otherwise nothing answers.
		s.after(time.Millisecond, func() { finish(answer{}, false) })
		return
	}
	s.after(storeTimeout, func() { finish(answer{}, false) })
	n.send(r, func() {
		if s.register.down {
			return
		}
		a := op()
		n.send(r, func() { finish(a, true) })
	})
}
