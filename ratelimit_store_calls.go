package holdoff

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// awayAfter is how many commands in a row have to fail before Redis is left
	// alone, but for one poll per interval.
	awayAfter = 3
	// maxCalls bounds the commands under way: those that a stopped server keeps
	// hanging in the client can't pile up.
	maxCalls = 16
)

// run runs a script, and waits no longer than the store's own timeout: by
// default a go-redis client ignores the deadline of a command under way.
func (s *RedisStore) run(ctx context.Context, script *redis.Script, keys []string, args ...any) ([]any, error) {
	if s.ctx.Err() != nil {
		return nil, errClosed
	}
	select {
	case s.underway <- struct{}{}:
	case <-s.ctx.Done():
		return nil, errClosed
	case <-time.After(s.opts.Timeout):
		return nil, s.failed(errBusy)
	}
	type result struct {
		reply []any
		err   error
	}
	done := make(chan result, 1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Timeout)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- result{err: fmt.Errorf("the client panicked: %v", r)}
			}
			cancel()
			<-s.underway
		}()
		reply, err := script.Run(ctx, s.client, keys, args...).Slice()
		done <- result{reply, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, s.failed(r.err)
		}
		s.answered(script)
		return r.reply, nil
	case <-time.After(s.opts.Timeout):
		return nil, s.failed(errLate)
	case <-s.ctx.Done():
		return nil, errClosed
	}
}

// failed notes that a command failed. Where Redis does not answer, it is left
// alone after several. Where it answers with an error (it is full, or does not
// let us), asking again costs nobody anything.
func (s *RedisStore) failed(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return err
	}
	if answer, ok := errors.AsType[redis.Error](err); ok {
		if s.refusal == nil {
			s.refusal = answer
			s.opts.Logger.Warn("Redis refuses: holds are not shared", zap.Error(answer))
		}
		return err
	}
	s.fails++
	if s.fails >= awayAfter && !s.away {
		s.away, s.since, s.err = true, time.Now(), err
		s.opts.Logger.Warn("Redis is away: holds are not shared until it is back", zap.Error(err))
	}
	return err
}

// answered notes that a command succeeded. After a time away, everything is
// read again.
func (s *RedisStore) answered(script *redis.Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = 0
	if s.refusal != nil && script == exchangeScript {
		s.refusal = nil
		s.opts.Logger.Info("Redis obliges: holds are shared")
	}
	if !s.away {
		return
	}
	s.opts.Logger.Info("Redis is back: holds are shared", zap.Duration("away", time.Since(s.since)))
	s.away, s.back, s.since, s.err = false, true, time.Now(), nil
	signal(s.resync)
}
