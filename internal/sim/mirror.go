package sim

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// mirror is a replica's copy of what its store knows (internal/redisstore/poll.go
// and listen.go): published changes are the fast way, and a poll is the sure one.
type mirror struct {
	epoch, seq uint64 // of the data, as far as known; 0 where they are not
	count      uint64 // of epochs
	missed     bool   // a change was not heard
	changed    bool   // it may be another server than before
	rejoined   bool   // the store was away
	fails      int
	away       bool
	reading    bool
	doubted    time.Time
	offset     time.Duration // of the register's clock
	timed      bool          // offset is known
	lag        time.Duration // how old the last answer was: no replica looks at it
	states     [maxKeys]hold.Snapshot
}

const (
	pollInterval = time.Second
	awayAfter    = 3
	seqBits      = 40
	lateness     = time.Second
)

// keepUp polls from time to time.
func (m *mirror) keepUp(r *replica) {
	r.later(pollInterval-r.sim.jitter(pollInterval/5), func() {
		m.poll(r)
		m.keepUp(r)
	})
}

// call calls the register, and counts calls that fail.
func (m *mirror) call(r *replica, done func(answer)) {
	r.sim.network.call(r, r.sim.register.read, func(a answer, ok bool) {
		if !ok {
			m.failed()
			m.reading = false
			return
		}
		m.answered(r)
		done(a)
	})
}

// poll compares the sequence of changes with what was seen of it.
func (m *mirror) poll(r *replica) {
	known, at := m.epoch, m.seq
	m.call(r, func(a answer) {
		m.clock(r, a)
		rewound := a.epoch == known && a.seq < at
		m.changed = m.changed || rewound
		if rewound || a.epoch != m.epoch || a.seq > m.seq || m.missed {
			m.readAll(r)
		}
	})
}

// readAll reads the index, which tells what data they are, and then the records.
func (m *mirror) readAll(r *replica) {
	if m.reading {
		return
	}
	m.reading = true
	m.call(r, func(index answer) {
		if m.changed {
			m.changed, m.epoch = false, 0
			m.count++
		}
		m.enter(index.epoch)
		m.call(r, func(a answer) {
			m.reading = false
			m.readRecords(r, a, index.seq)
		})
	})
}

// readRecords takes in all records, of which those that are gone are lost, or healthy
// for long.
func (m *mirror) readRecords(r *replica, a answer, start uint64) {
	for key := range r.sim.Keys {
		if a.all[key].found {
			m.put(r, key, m.stamp(r, a.all[key]))
		}
	}
	m.seq, m.rejoined, m.missed = max(m.seq, start), false, false
	for key := range r.sim.Keys {
		state := m.states[key]
		if a.all[key].found || state.Version == 0 {
			continue
		}
		count, seq := state.Version>>seqBits, state.Version&(1<<seqBits-1)
		held := state.Phase == hold.Held && r.sim.now.Before(state.Until)
		switch {
		case count < m.count, seq <= start && held:
			m.put(r, key, hold.Snapshot{Lost: true})
		case seq <= start:
			m.put(r, key, hold.Snapshot{Version: m.count<<seqBits | start})
		}
	}
}

// enter counts anew where the data are other ones than before.
func (m *mirror) enter(epoch uint64) bool {
	if epoch == m.epoch {
		return false
	}
	m.epoch, m.seq = epoch, 0
	m.count++
	return true
}

// stamp returns a state by this process's clock, with a version that orders it.
func (m *mirror) stamp(r *replica, a answer) hold.Snapshot {
	state := a.reply.Snapshot
	m.lag = r.sim.now.Sub(a.sentAt)
	state.Version = m.count<<seqBits | a.seq
	if state.Phase == hold.Healthy {
		state.Until = time.Time{}
	} else {
		state.Until = r.sim.now.Add(min(state.Until.Sub(a.reply.Now), MaxHold))
		state.First = r.sim.now.Add(state.First.Sub(a.reply.Now))
	}
	if state.Attempts > 0 {
		state.Last = r.sim.now.Add(-max(a.reply.Now.Sub(state.Last), 0))
	}
	return state
}

// observe returns the state of a reply.
func (m *mirror) observe(r *replica, a answer) hold.Snapshot {
	m.clock(r, a)
	if m.enter(a.epoch) {
		m.gap(r)
	}
	return m.stamp(r, a)
}

func (m *mirror) clock(r *replica, a answer) {
	m.offset, m.timed = a.reply.Now.Sub(r.sim.now), true
}

// put adopts a state, unless it is older than the one that is known, and passes it on.
func (m *mirror) put(r *replica, key int, state hold.Snapshot) {
	known := m.states[key].Version
	if !state.Lost && state.Version <= known && !m.rejoined {
		return
	}
	m.states[key] = state
	r.sessions[key].told(state)
}

// hear takes in a published change. One of other data than those that are known has
// no proof, and is a reason to read.
func (m *mirror) hear(r *replica, key int, a answer) {
	now := r.sim.now
	if a.epoch != m.epoch {
		if now.Sub(m.doubted) >= time.Second {
			m.doubted = now
			r.later(r.sim.jitter(20*time.Millisecond), func() { m.poll(r) })
		}
		return
	}
	late := m.timed && a.reply.Now.Before(now.Add(m.offset-lateness))
	if a.seq > m.seq+1 || late {
		m.gap(r)
	}
	m.seq = max(m.seq, a.seq)
	if !late {
		m.put(r, key, m.stamp(r, a))
	}
}

// gap notes that a change was not heard, and has all read again.
func (m *mirror) gap(r *replica) {
	m.missed = true
	r.later(0, func() {
		if m.missed {
			m.readAll(r)
		}
	})
}

// failed and answered: after three calls in a row without an answer the store counts
// as away, and only polls go to it (calls.go).
func (m *mirror) failed() {
	m.fails++
	m.away = m.away || m.fails >= awayAfter
}

func (m *mirror) answered(r *replica) {
	m.fails = 0
	if m.away {
		m.away, m.rejoined, m.changed = false, true, true
		m.gap(r)
	}
}

// reconnect is that of a subscription which ended: it may be another server now, and
// what was published in between is lost.
func (m *mirror) reconnect(r *replica) {
	r.later(r.sim.jitter(pollInterval), func() {
		m.changed = true
		m.gap(r)
	})
}
