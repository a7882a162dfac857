// Package redisrun runs scripts without trusting the client's own timeouts: by
// default a go-redis client ignores the deadline of a command under way, and
// waits 5 s for a server that hangs.
package redisrun

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrLate is the error where no answer came in time.
var ErrLate = errors.New("holdoff: Redis did not answer in time")

// Run runs script and returns what it returns, or an error no later than
// timeout or the end of ctx. A command that is still under way then goes on in
// the background until the client gives it up; done is called when it has ended.
func Run(ctx context.Context, timeout time.Duration, client redis.Scripter, script *redis.Script, done func(), keys []string, args ...any) ([]any, error) {
	type result struct {
		reply []any
		err   error
	}
	answered := make(chan result, 1)
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				answered <- result{err: fmt.Errorf("holdoff: the Redis client panicked: %v", r)}
			}
			cancel()
			done()
		}()
		reply, err := script.Run(bounded, client, keys, args...).Slice()
		answered <- result{reply, err}
	}()
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case r := <-answered:
		return r.reply, r.err
	case <-late.C:
		return nil, ErrLate
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// CheckName says what is wrong with a namespace or prefix, as the end of a
// sentence that begins with the name of the field.
func CheckName(name string) error {
	if len(name) > 128 {
		return fmt.Errorf("has %d bytes; at most 128 are allowed", len(name))
	}
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '{' || r == '}' || r == '\ufffd' }
	if strings.IndexFunc(name, bad) >= 0 {
		return fmt.Errorf("is %q; braces, white space and control characters are not allowed", name)
	}
	return nil
}
