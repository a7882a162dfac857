package hold

import "time"

// Rounding is by how much a time may differ after it went through a store.
const Rounding = 5 * time.Millisecond

// A Snapshot is what a store knows of a key: N sends until T.
type Snapshot struct {
	Phase          Phase
	Permits        int       // granted to the replica that asked, until Until
	First          time.Time // when the first of them may be used, or the next would be, where they are turns
	Until          time.Time
	Generation     uint64
	Rate           float64 // sends per second, where the key is paced or rationed
	Level          int
	ServerDirected bool // the server itself asked for the hold
	Attempts       int
	Last           time.Time // the latest of the attempts that failed
	Status         int
	Witnesses      int
	Version        uint64 // orders the snapshots of a key in one process
	Lost           bool   // the store no longer knows a key that it knew
	Cleared        uint64 // the Version with which an operator has released the key; 0 where none has
	ClearedAt      time.Time
}

// Expired reports whether a snapshot says nothing, or nothing any more.
func (s Snapshot) Expired(now time.Time) bool {
	if s.Phase == Healthy {
		return s.Attempts == 0 || now.Sub(s.Last) > Grace
	}
	return now.Sub(s.Until) > Grace
}

// Snapshot returns the state as a store keeps it: the caller adds Last and
// Version.
func (m *Machine) Snapshot() Snapshot {
	return Snapshot{
		Phase: m.phase, Permits: m.PermitsLeft(), Until: m.until, Generation: m.generation, Rate: m.rate, Level: m.level,
		ServerDirected: m.serverDirected, Attempts: m.attempts, Status: m.status, Witnesses: m.witnesses,
	}
}

// OutlastsHold reports whether this process holds the key by the server's own
// word for longer than the store's hold s lasts.
func (m *Machine) OutlastsHold(s Snapshot) bool {
	return m.phase == Held && m.serverDirected && s.Phase == Held && m.until.After(s.Until)
}

// Adopt follows the store's state: from now on the store decides what comes at T.
// A hint that this process got, and that the store does not know yet, is kept.
func (m *Machine) Adopt(s Snapshot, now time.Time) {
	keep := m.OutlastsHold(s)
	until := s.Until
	if keep {
		until = m.until
	}
	m.enter(s.Phase, s.Permits, until)
	if !m.IsPaced() {
		m.length = 0 // of a hold that another process began
	}
	m.shared, m.serverDirected = true, s.ServerDirected || keep
	m.generation, m.level, m.rate = s.Generation, s.Level, s.Rate
	m.attempts, m.status, m.witnesses = s.Attempts, s.Status, s.Witnesses
}

// Recover makes the key healthy: the store says so.
func (m *Machine) Recover(now time.Time) { m.recover(now) }

// ForfeitPermits gives up the permits of this round that are not taken.
func (m *Machine) ForfeitPermits() { m.permits = m.granted }

// Detach continues without the store. A process that had no permit of the probe
// or the slot is the next to probe, at T. What the server accepts of this process
// alone is not known, and is found by a ramp.
func (m *Machine) Detach(now time.Time) {
	m.shared = false
	switch {
	case m.IsPaced():
		m.enter(Ramping, 2, now.Add(Slot))
	case m.permits == 0 && (m.phase == Probing || m.phase == Ramping):
		m.enter(Probing, 1, m.until)
		m.granted = 1
	}
}
