package holdoff

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// How a RedisStore hears of changes while they happen.

// listen takes in what other replicas publish. It subscribes anew when that
// ends, or when a poll finds that it delivers nothing.
func (s *RedisStore) listen() {
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

func (s *RedisStore) subscribe() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the client panicked: %v", r) // redis.Ring does, without a shard
		}
	}()
	sub := s.client.Subscribe(s.ctx, s.name("changes"))
	messages := sub.ChannelWithSubscriptions()
	// Close may redial for seconds: nobody waits for it. What is left in the
	// channel is taken out, or the client waits for a minute for room in it.
	defer func() {
		go func() {
			sub.Close()
			for range messages {
			}
		}()
	}()
	for {
		select {
		case <-s.ctx.Done():
			return nil
		case <-s.deaf:
			return errors.New("it delivers nothing")
		case m, ok := <-messages:
			if !ok {
				return errors.New("the client closed it")
			}
			switch m := m.(type) {
			case *redis.Subscription:
				// Whatever was said in between is lost. It may be another server as
				// well: a replica that was promoted has the epoch of the master that
				// failed, and perhaps not its last writes.
				s.mu.Lock()
				s.anew = true
				s.mu.Unlock()
				signal(s.resync)
			case *redis.Message:
				s.hear(m.Payload)
			}
		}
	}
}

// hear takes in one published change.
func (s *RedisStore) hear(payload string) {
	snap, ok := decodePayload(payload, s.opts.MaxHold)
	if !ok {
		return
	}
	s.mu.Lock()
	late := s.clock > 0 && snap.clock < s.clock+time.Since(s.born)-lateness
	if s.enterEpoch(snap.epoch) || snap.seq > s.seq+1 || late {
		// What was on the way for long has lost its sense of time.
		s.miss(snap.seq)
	}
	s.seq = max(s.seq, snap.seq)
	state := s.stamp(snap)
	s.mu.Unlock()
	if !late {
		s.take(snap.id, snap.key, state)
	}
}

// miss notes that a change before seq was not heard, and has all read again. The
// caller holds mu.
func (s *RedisStore) miss(seq uint64) {
	s.missed = max(s.missed, seq)
	signal(s.resync)
}

// signal leaves a mark for a loop that is perhaps busy.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
