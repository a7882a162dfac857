package redisstore

import (
	"math/rand/v2"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// How a Store keeps its copy of what Redis knows: pushes are the fast way,
// and the sequence that a poll looks at is the sure one.

const (
	// maxMirror bounds the keys of which a process keeps a copy.
	maxMirror = 64 << 10
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

// entry is what is known of one record.
type entry struct {
	key, scope string
	state      hold.Snapshot
	lost       bool // Redis no longer has the record: a new watcher is notified
}

// keyed has the records of one key, by id, and who watches them.
type keyed struct {
	watchers map[*func(string, hold.Snapshot)]bool
	records  map[string]*entry
}

// keyed returns what is known of a key, and makes it if there is nothing. The caller
// holds mu.
func (s *Store) keyed(key string) *keyed {
	k := s.keys[key]
	if k == nil {
		k = &keyed{watchers: make(map[*func(string, hold.Snapshot)]bool), records: make(map[string]*entry)}
		s.keys[key] = k
	}
	return k
}

// add makes the entry of a record. The caller holds mu.
func (s *Store) add(id, record string) *entry {
	e := &entry{}
	e.key, e.scope = scope.Split(record)
	s.mirror[id] = e
	s.keyed(e.key).records[id] = e
	return e
}

// prune forgets what an entry says when its record has expired, and the entry when its
// key has no watcher. The caller holds mu.
func (s *Store) prune(id string, e *entry) {
	if !e.state.Expired(time.Now()) {
		return
	}
	e.state = hold.Snapshot{Version: e.state.Version}
	if k := s.keys[e.key]; len(k.watchers) == 0 {
		s.remove(id, e, k)
	}
}

// remove forgets an entry. The caller holds mu.
func (s *Store) remove(id string, e *entry, k *keyed) {
	delete(s.mirror, id)
	delete(k.records, id)
	s.dropKey(e.key, k)
}

// dropKey forgets a key without a record and without a watcher. The caller holds mu.
func (s *Store) dropKey(key string, k *keyed) {
	if len(k.watchers)+len(k.records) == 0 && s.keys[key] == k {
		delete(s.keys, key)
	}
}

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
	return state
}

// version orders states by the epoch of the data and the sequence in it.
func version(epoch, seq uint64) uint64 { return epoch<<seqBits | seq }

func splitVersion(v uint64) (epoch, seq uint64) { return v >> seqBits, v & (1<<seqBits - 1) }

// put adopts a state into the mirror, unless it is older than the one there,
// and notifies the watchers.
func (s *Store) put(id, record string, state hold.Snapshot) {
	s.mu.Lock()
	e := s.mirror[id]
	if e == nil {
		if len(s.mirror) >= maxMirror || (state.Phase == hold.Healthy && state.Attempts == 0) {
			s.mu.Unlock()
			return
		}
		e = s.add(id, record)
	}
	k := s.keys[e.key]
	if state.Lost && len(k.watchers) == 0 {
		e.lost = true
		s.prune(id, e)
		s.mu.Unlock()
		return
	}
	if !state.Lost && state.Version <= e.state.Version && !s.rejoined {
		s.mu.Unlock()
		return
	}
	e.state, e.lost = state, false
	var notify []func(string, hold.Snapshot)
	for w := range k.watchers {
		notify = append(notify, *w)
	}
	s.prune(id, e)
	s.mu.Unlock()
	for _, changed := range notify {
		changed(e.scope, state)
	}
}

// keepUp polls, and reads all again when something was missed.
func (s *Store) keepUp() {
	for {
		wait := s.opts.PollInterval - time.Duration(rand.Int64N(int64(s.opts.PollInterval)/5))
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
			s.poll()
			s.sweep()
		}
	}
}

// poll compares the sequence of changes with what was seen of it.
func (s *Store) poll() {
	s.mu.Lock()
	known, at := s.datasetID, s.seq
	s.mu.Unlock()
	reply, err := s.run(pollScript, []string{s.name("meta")}, s.candidate)
	if err != nil {
		return
	}
	epoch, seq, clock, secret, ok := decodeMeta(reply)
	if !ok || epoch == "" { // Redis takes no writes, and has no meta data
		return
	}
	s.mu.Lock()
	s.secret = secret
	s.redisOffset = clock - time.Since(s.start)
	rewound := epoch == known && seq < at
	s.serverChanged = s.serverChanged || rewound
	s.mu.Unlock()
	switch {
	case rewound, epoch != known: // to what a replica had, without the last writes; or lost
		s.readAll()
		return
	case s.seen(epoch, seq):
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
		signal(s.stalled)
	}
	if !s.seen(epoch, seq) {
		s.readAll()
	}
}

// sweep forgets entries that no request has asked for since their records have
// expired.
func (s *Store) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.swept) < hold.Grace/4 {
		return
	}
	s.swept = time.Now()
	for id, e := range s.mirror {
		s.prune(id, e)
		if k := s.keys[e.key]; e.scope != "" && k != nil && k.records[id] == e && e.state.Expired(time.Now()) {
			s.remove(id, e, k) // a key may have had many scopes
		}
	}
}

// receivedChange reports whether the subscription has brought the change with that
// sequence, or a later one.
func (s *Store) receivedChange(epoch string, seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return epoch == s.datasetID && seq <= s.seq
}

// seen reports whether all changes up to seq were taken in.
func (s *Store) seen(epoch string, seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return epoch == s.datasetID && seq <= s.seq && s.missed == 0
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
