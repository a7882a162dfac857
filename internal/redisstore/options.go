package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/go-holdoff/holdoff/internal/redisrun"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Client is what a [Store] needs of a go-redis client:
// redis.NewClient, NewClusterClient, NewFailoverClient and NewUniversalClient
// return one.
type Client interface {
	redis.Scripter
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
}

// Options are the settings of a [Store]. The zero value is ready for
// use.
type Options struct {
	// Namespace separates fleets that share a Redis: those with one namespace
	// obey each other. At most 128 bytes, without braces, white space and
	// control characters. If empty, "default".
	Namespace string
	// Prefix begins all keys and the channel in Redis: Prefix:{Namespace}:v3:…
	// It is bound as Namespace is. If empty, "holdoff".
	Prefix string
	// Timeout bounds each command, whatever the client's own timeouts are. If
	// zero, 250 ms.
	Timeout time.Duration
	// PollInterval is how often the store looks whether it missed a change, where pub/sub
	// is known to fail: the longest that a hold goes unnoticed then. While pub/sub is
	// alive, one replica of the fleet looks in ten intervals, and each in thirty. If
	// zero, 1 s; at least 100 ms.
	PollInterval time.Duration
	// MaxHold is the longest hold that is believed, whichever replica reported it: the
	// largest Transport.MaxHold of the fleet. If zero, five minutes.
	MaxHold time.Duration
	// Logger gets a WARN when Redis is unreachable, and an INFO when it is back. If
	// nil, nothing is logged.
	Logger *zap.Logger
}

func (o *Options) validate() error {
	for _, f := range []struct{ name, value string }{{"Namespace", o.Namespace}, {"Prefix", o.Prefix}} {
		if err := redisrun.CheckName(f.value); err != nil {
			return fmt.Errorf("holdoff: Options.%s %w", f.name, err)
		}
	}
	if o.Timeout < 0 {
		return fmt.Errorf("holdoff: Options.Timeout is %v; it must not be negative", o.Timeout)
	}
	if o.MaxHold < 0 {
		return fmt.Errorf("holdoff: Options.MaxHold is %v; it must not be negative", o.MaxHold)
	}
	if o.PollInterval < minPoll {
		return fmt.Errorf("holdoff: Options.PollInterval is %v; it must be %v or more", o.PollInterval, minPoll)
	}
	return nil
}
