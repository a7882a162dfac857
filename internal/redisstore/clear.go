package redisstore

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// How a Store learns of the clears that it was not there for. Redis has the number of the
// last one. A report says which one the replica knows, and is not taken in where that is
// not the last: it may be of what was cleared. The replica reads everything, and lets go of
// what Redis does not have, and what it met before the clear. That a hold is not there may
// have another reason: it costs one request, which is refused.

// takeClear obeys the clears up to one, where everything was read of when the sequence was
// at start, or later.
func (s *Store) takeClear(cleared int64, start uint64) {
	s.mu.Lock()
	known, v, at := s.cleared, version(s.epochCount, start), s.local(cleared)
	s.mu.Unlock()
	if cleared > known {
		s.mirror.Put(everything, hold.Snapshot{Version: v, Cleared: v, ClearedAt: at}, false)
		s.noteClear(cleared)
	}
}

// noteClear notes that all clears up to one were obeyed.
func (s *Store) noteClear(cleared int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cleared > s.cleared {
		s.cleared, s.clearedAt = cleared, time.Now()
	}
}

// catchUp waits for a clear to be obeyed, for as long as for a command.
func (s *Store) catchUp(cleared int64) {
	for end := time.Now().Add(s.opts.Timeout); time.Now().Before(end) && s.ctx.Err() == nil; time.Sleep(drainStep) {
		s.mu.Lock()
		known := s.cleared
		s.mu.Unlock()
		if known >= cleared {
			return
		}
		signal(s.poke)
	}
}

// local is when it was so many ms since 1970 by Redis' clock: not before that, and no later
// than now. The caller holds mu.
func (s *Store) local(ms int64) time.Time {
	now := time.Now()
	if s.redisOffset <= 0 {
		return now
	}
	at := s.start.Add(time.Duration(ms+1)*time.Millisecond - s.redisOffset) // which is too small, by half a round trip
	if at.After(now) {
		return now
	}
	return at
}
