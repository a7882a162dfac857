package redisstore

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
)

// How a Store keeps its copy of what Redis knows: pushes are the fast way,
// and the sequence that a poll looks at is the sure one.
//
// A poll publishes a heartbeat, a change of nothing, where there was none for a while. So
// one replica polls for the fleet. The others receive the sequence, know that their
// subscriptions are alive, and put off their own polls. A subscription that does not
// bring the heartbeat is not trusted: its replica polls once per interval.

const (
	// restPolls is how many poll intervals a replica leaves out after a message: one
	// replica at rest sends 0.1 commands per second, and a subscription that dies in
	// silence is found after 11 intervals at most. Until then its replica may meet a
	// refusal that it could have known of, once per host: a report says the rest.
	restPolls = 10
	// maxRestPolls is how many it leaves out after a command that was answered: its
	// connection is used before something on the way forgets it, and Err says what is true.
	maxRestPolls = 30
	// pushDelay is how long a poll that is ahead of the subscription waits for
	// it to catch up.
	pushDelay = 100 * time.Millisecond
	// pokeSpread spreads the polls of replicas that have received a change without proof.
	pokeSpread = 20 * time.Millisecond
	// lateness is how late a published change may be and still be believed.
	lateness = time.Second
	// seqBits of a version are the sequence, the rest the epoch.
	seqBits = 40
	// pageSize is how many records are read at a time.
	pageSize = 100
)

// observe returns the state of a snapshot that was asked for, and sets our notion
// of Redis' clock by it.
func (s *Store) observe(snap snapshot) hold.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redisOffset = snap.clock - time.Since(s.start)
	if s.enterEpoch(snap.epoch) {
		s.noteGap(snap.seq)
	}
	return s.stamp(snap)
}

// stamp orders a snapshot's state among those that this process has seen. The
// caller holds mu.
func (s *Store) stamp(snap snapshot) hold.Snapshot {
	state := snap.state
	state.Version = version(s.epochCount, snap.seq)
	if snap.cleared > 0 {
		state.Cleared, state.ClearedAt = state.Version, s.local(snap.cleared)
	}
	return state
}

// version orders states by the epoch of the data and the sequence in it.
func version(epoch, seq uint64) uint64 { return epoch<<seqBits | seq }

func splitVersion(v uint64) (epoch, seq uint64) { return v >> seqBits, v & (1<<seqBits - 1) }

// keepUp polls, and reads all again when something was missed.
func (s *Store) keepUp() {
	for {
		wait := s.opts.PollInterval - jitter.Uniform(s.opts.PollInterval/5) // which makes one replica of a fleet the first
		select {
		case <-s.ctx.Done():
			return
		case <-s.fullRead:
			s.readAll()
			// A storm of gaps is not to become one of readings.
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(pushDelay):
			}
		case <-s.poke:
			// Every replica has received the same: they do not all ask at once.
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(jitter.Uniform(pokeSpread)):
			}
			s.poll()
		case <-time.After(wait):
			if !s.rests() {
				s.poll()
			}
		}
	}
}

// rests reports whether a poll would say nothing new: a message has come a short time
// ago, and Redis answers this replica. A replica that only receives must not take that
// for granted.
func (s *Store) rests() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.received) < restPolls*s.opts.PollInterval &&
		s.fails == 0 && time.Since(s.answeredAt) < maxRestPolls*s.opts.PollInterval
}

// distrust makes the store poll now, and then at each interval until the subscription
// brings something. The caller holds mu.
func (s *Store) distrust() {
	if s.received.IsZero() {
		return
	}
	s.received = time.Time{}
	signal(s.poke)
}

// poll compares the sequence of changes with what was seen of it.
func (s *Store) poll() {
	s.mu.Lock()
	known, at := s.datasetID, s.seq
	s.mu.Unlock()
	reply, err := s.run(pollScript, []string{s.name("meta")}, s.candidate, s.name("changes"), (restPolls * s.opts.PollInterval).Milliseconds())
	if err != nil {
		return
	}
	m, ok := decodeMeta(reply)
	if !ok || m.epoch == "" { // Redis takes no writes, and has no meta data
		return
	}
	epoch, seq := m.epoch, m.seq
	s.mu.Lock()
	s.secret = m.secret
	s.redisOffset = m.clock - time.Since(s.start)
	rewound := epoch == known && seq < at
	s.serverChanged = s.serverChanged || rewound
	s.mu.Unlock()
	switch {
	case rewound, epoch != known: // to what a replica had, without the last writes; or lost
		s.readAll()
		return
	case s.seen(m):
		return
	}
	// The subscription may be a moment behind. Where it stays so, it is broken:
	// go-redis does not find a link that swallows everything.
	select {
	case <-s.ctx.Done():
		return
	case <-time.After(pushDelay):
	}
	if !s.receivedChange(epoch, seq) {
		s.mu.Lock()
		s.distrust()
		s.mu.Unlock()
		signal(s.stalled)
	}
	if !s.seen(m) {
		s.readAll()
	}
}

// receivedChange reports whether the subscription has brought the change with that
// sequence, or a later one.
func (s *Store) receivedChange(epoch string, seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return epoch == s.datasetID && seq <= s.seq
}

// seen reports whether all changes up to m were taken in.
func (s *Store) seen(m metaData) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.epoch == s.datasetID && m.seq <= s.seq && s.missed == 0 && m.cleared <= s.cleared
}

// enterEpoch restarts the sequence where the data of Redis are other ones than
// before, and reports whether they are. The caller holds mu.
func (s *Store) enterEpoch(epoch string) bool {
	if epoch == s.datasetID {
		return false
	}
	s.datasetID, s.seq, s.missed = epoch, 0, 0
	s.epochCount++
	return true
}
