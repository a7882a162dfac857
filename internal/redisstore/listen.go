package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// How a Store receives changes while they happen.

// doubtInterval bounds how often changes without proof make a process poll.
const doubtInterval = time.Second

// listen receives what other replicas publish. It subscribes again when that
// ends, or when a poll finds that it delivers nothing.
func (s *Store) listen() {
	for s.ctx.Err() == nil {
		if err := s.subscribe(); err != nil {
			s.opts.Logger.Debug("subscription ended", zap.Error(err))
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(s.opts.PollInterval / 10):
		}
	}
}

func (s *Store) subscribe() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the client panicked: %v", r) // redis.Ring does, without a shard
		}
	}()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	sub := s.client.Subscribe(ctx, s.name("changes"))
	go func() { // Receive ends with the connection only
		select {
		case <-s.stalled:
			cancel()
		case <-ctx.Done():
		}
		sub.Close()
	}()
	// Not by the client's channel: that keeps to itself that a connection is lost, and
	// its PING proves nothing, since it does not look whether an answer comes. A
	// heartbeat does: see poll.go.
	for failed := false; ; {
		m, err := sub.Receive(ctx)
		if err != nil {
			s.mu.Lock()
			s.distrust()
			s.mu.Unlock()
			if failed || ctx.Err() != nil {
				return err
			}
			failed = true // the client has connected again, or does so now
			continue
		}
		failed = false
		switch m := m.(type) {
		case *redis.Subscription:
			// Whatever was said in between is lost. It may be another server as
			// well: a replica that was promoted has the epoch of the master that
			// failed, and perhaps not its last writes.
			s.mu.Lock()
			s.serverChanged = true
			s.distrust()
			s.mu.Unlock()
			signal(s.fullRead)
		case *redis.Message:
			s.receive(m.Payload)
		}
	}
}

// receive takes in one published change.
//
// A client that may publish can publish anything: a change counts only with the proof
// that its record made it (see write in common.lua). One without it may be forged,
// or of another database of this Redis, since pub/sub crosses databases; or Redis
// has lost the meta data, and the proof with it. So it makes us poll, once a second
// at most.
func (s *Store) receive(payload string) {
	s.mu.Lock()
	text, proven := verified(payload, s.secret)
	if !proven { // the secret of other data is another one
		if time.Since(s.doubted) >= doubtInterval {
			s.doubted = time.Now()
			signal(s.poke)
		}
		s.mu.Unlock()
		return
	}
	snap, ok := decodePayload(text, s.opts.MaxHold)
	late := s.redisOffset > 0 && snap.clock < s.redisOffset+time.Since(s.start)-lateness
	if ok && snap.epoch == s.datasetID && !late {
		s.received = time.Now()
	}
	if !ok || snap.epoch != s.datasetID || snap.seq <= s.seq { // damaged, of other data, or received before
		s.mu.Unlock()
		return
	}
	if snap.seq > s.seq+1 || late {
		// What was on the way for long has lost its sense of time.
		s.noteGap(snap.seq)
	}
	s.seq = max(s.seq, snap.seq)
	complete := s.missed == 0
	state := s.stamp(snap)
	if age := s.redisOffset + time.Since(s.start) - snap.clock; s.redisOffset > 0 && age > 0 {
		state.Until = state.Until.Add(-age) // it was on the way for so long
	}
	s.mu.Unlock()
	if !late && snap.id != "" {
		s.mirror.Put(snap.key, state, false)
	}
	if complete {
		s.noteClear(snap.cleared)
	}
}

// noteGap notes that a change before seq was not received, and has all read again. The
// caller holds mu.
func (s *Store) noteGap(seq uint64) {
	s.missed = max(s.missed, seq)
	signal(s.fullRead)
}

// signal leaves a mark for a loop that is perhaps busy.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
