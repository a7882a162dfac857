package holdoff

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/internal/redisstore"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// RedisClient is what a [RedisStore] needs of a go-redis client:
// redis.NewClient, NewClusterClient, NewFailoverClient and NewUniversalClient
// return one.
type RedisClient interface {
	redis.Scripter
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
}

// RedisOptions are the settings of a [RedisStore]. The zero value is ready for
// use.
type RedisOptions struct {
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

// RedisStore is a [Store] for all processes that use one Redis (6.2 or later,
// or Valkey; a Sentinel or Cluster set-up as well). It keeps a copy of what
// Redis knows, so that looking costs nothing: changes come by pub/sub, and a
// poll finds those that pub/sub lost. Where Redis fails, each process continues
// alone, and they resynchronise when it is back.
//
// It shares the client with its other users, and doesn't close it.
type RedisStore struct {
	store   *redisstore.Store
	replica string
}

// NewRedisStore returns a store that shares its state through client. That
// Redis can't be reached is no error: the store joins it when it comes. The
// store should be closed when it is no longer used.
func NewRedisStore(client RedisClient, opts RedisOptions) (*RedisStore, error) {
	store, err := redisstore.New(client, redisstore.Options(opts))
	if err != nil {
		return nil, err
	}
	return &RedisStore{store, rand.Text()}, nil
}

// Report implements [Store]. It is bounded by RedisOptions.Timeout, and not by its
// context.
func (s *RedisStore) Report(ctx context.Context, key string, r Report) (Reply, error) {
	return s.store.Report(ctx, key, r)
}

// Commit implements [Store]. It is bounded as Report is.
func (s *RedisStore) Commit(ctx context.Context, key string, d Decision) (Reply, error) {
	return s.store.Commit(ctx, key, d)
}

// Replica names this process among those that use the same Redis. The Transports that
// share a RedisStore are one replica: what breaks one of them may be this process's
// own fault, and two of them are no two witnesses.
func (s *RedisStore) Replica() string { return s.replica }

// Watch implements [Store].
func (s *RedisStore) Watch(key string, changed func(scope string, state State)) (stop func()) {
	return s.store.Watch(key, changed)
}

// All yields the keys that are not healthy, as far as this process knows, with
// their states.
func (s *RedisStore) All() iter.Seq2[string, State] { return s.store.All() }

// List reads what is not healthy from Redis itself, which may know more than All: it is
// complete, or an error. It is for operators. It costs two scripts per hundred records, and
// nothing for keys that are not ours; each is bounded by RedisOptions.Timeout.
func (s *RedisStore) List(ctx context.Context) ([]KeyState, error) {
	records, _, err := s.store.List(ctx)
	if err != nil {
		return nil, err
	}
	var states []KeyState
	for _, record := range slices.Sorted(maps.Keys(records)) {
		states = append(states, keyStateOf(record, records[record]))
	}
	return states, nil
}

// Clear releases key for all replicas, within a moment: what they hold, pace or ration of
// it, also where Redis has no record of it. What is behind the key's name after a space, as
// in KeyState.Scope.Of(key), releases that scope alone, with those inside it. If the server
// still refuses, its next answer holds it again.
func (s *RedisStore) Clear(ctx context.Context, key string) error {
	if key == "" {
		return errors.New("holdoff: RedisStore.Clear: the key is empty; ClearAll releases all")
	}
	_, err := s.store.Clear(ctx, key)
	return err
}

// ClearAll does what Clear does with all keys of the namespace.
func (s *RedisStore) ClearAll(ctx context.Context) error {
	_, err := s.store.Clear(ctx, "")
	return err
}

// Err returns why holds are not shared at present, or nil if they are. It takes
// three commands in a row without an answer before Redis counts as away. For a
// minute after a record or the meta data had to be replaced because they could not
// be read, it says so.
func (s *RedisStore) Err() error { return s.store.Err() }

// Close ends what the store does in the background, within a second whatever
// Redis does. What was learned a moment ago is reported first, if Redis answers. The
// client stays open.
func (s *RedisStore) Close() error { return s.store.Close() }
