package redisstore

import (
	"errors"
	"time"

	"github.com/go-holdoff/holdoff/internal/redisrun"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// awayAfter is how many commands in a row have to fail before Redis is sent
	// nothing but one poll per interval.
	awayAfter = 3
	// maxCalls bounds the commands under way: those that a stopped server keeps
	// hanging in the client can't pile up.
	maxCalls = 16
	// maxCommits are further commands, for decisions: one that waited behind reports
	// would outlast its claim, and be made again by another replica.
	maxCommits = 4
)

// run runs a script, and waits no longer than the store's own timeout.
func (s *Store) run(script *redis.Script, keys []string, args ...any) ([]any, error) {
	if s.ctx.Err() != nil {
		return nil, errClosed
	}
	places := s.underway
	if script == commitScript {
		places = s.committing
	}
	select {
	case places <- struct{}{}:
	case <-s.ctx.Done():
		return nil, errClosed
	case <-time.After(s.opts.Timeout):
		return nil, s.failed(errBusy)
	}
	done := func() { <-places }
	reply, err := redisrun.Run(s.ctx, s.opts.Timeout, s.client, script, done, keys, args...)
	switch {
	case s.ctx.Err() != nil:
		return nil, errClosed
	case err != nil:
		return nil, s.failed(err)
	}
	s.answered(script)
	return reply, nil
}

// failed notes that a command failed. Where Redis does not answer, it is left
// alone after several. Where it answers with an error (it is full, or does not
// let us), it is asked again: an error reply delays no caller.
func (s *Store) failed(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return err
	}
	if answer, ok := errors.AsType[redis.Error](err); ok {
		if s.refusal == nil {
			s.refusal = answer
			s.opts.Logger.Warn("Redis rejects commands: holds are not shared", zap.Error(answer))
		}
		return err
	}
	s.fails++
	s.distrust() // it may be another server that answers next
	if s.fails >= awayAfter && !s.away {
		s.away, s.since, s.err = true, time.Now(), err
		s.opts.Logger.Warn("Redis is unreachable: holds are not shared until it is back", zap.Error(err))
	}
	return err
}

// answered notes that a command succeeded. After a time away, everything is
// read again.
func (s *Store) answered(script *redis.Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails, s.answeredAt = 0, time.Now()
	if s.refusal != nil && script == reportScript {
		s.refusal = nil
		s.opts.Logger.Info("Redis accepts commands again: holds are shared")
	}
	if !s.away {
		return
	}
	s.opts.Logger.Info("Redis is back: holds are shared", zap.Duration("away", time.Since(s.since)))
	s.away, s.serverChanged, s.since, s.err = false, true, time.Now(), nil
	signal(s.fullRead)
}
