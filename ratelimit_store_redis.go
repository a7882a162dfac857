package holdoff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/internal/redisrun"
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
	// Prefix begins all keys and the channel in Redis: Prefix:{Namespace}:v1:…
	// It is bound as Namespace is. If empty, "holdoff".
	Prefix string
	// Timeout bounds each command, whatever the client's own timeouts are. If
	// zero, 250 ms.
	Timeout time.Duration
	// PollInterval is how often the store looks whether it missed a change:
	// the longest that a hold can go unnoticed where pub/sub fails. If zero,
	// 1 s; at least 100 ms.
	PollInterval time.Duration
	// MaxHold is the longest hold that is believed, whoever reported it: the
	// largest Transport.MaxHold of the fleet. If zero, five minutes.
	MaxHold time.Duration
	// Logger gets a WARN when Redis is away, and an INFO when it is back. If
	// nil, nothing is logged.
	Logger *zap.Logger
}

const (
	// A store that is closed waits for what is being told, in steps, and not for
	// long.
	maxDrain  = 300 * time.Millisecond
	drainStep = 20 * time.Millisecond

	defaultPoll = time.Second
	minPoll     = 100 * time.Millisecond
	// maxRecords bounds the keys in Redis, for an attacker who makes us meet
	// refusals from ever new hosts. Above it, keys are held by each alone.
	maxRecords = 32 << 10
)

var (
	errAway   = errors.New("holdoff: Redis is away")
	errBusy   = errors.New("holdoff: too many Redis commands are under way")
	errClosed = errors.New("holdoff: RedisStore is closed")
)

// RedisStore is a [Store] for all processes that use one Redis (6.2 or later,
// or Valkey; a Sentinel or Cluster set-up as well). It keeps a copy of what
// Redis knows, so that looking costs nothing: changes come by pub/sub, and a
// poll finds those that pub/sub lost. Where Redis fails, each process goes on
// alone, and they come together again when it is back.
//
// It shares the client with whoever else uses it, and doesn't close it.
type RedisStore struct {
	client    RedisClient
	opts      RedisOptions
	replica   string
	born      time.Time // our clock counts from here
	calls     atomic.Uint64
	exchanges atomic.Int64  // under way
	underway  chan struct{} // a place for each command under way

	ctx     context.Context // of all that goes on in the background
	cancel  context.CancelFunc
	running sync.WaitGroup
	resync  chan struct{} // something was missed: read all again
	deaf    chan struct{} // the subscription delivers nothing: make another

	mu      sync.Mutex // guards what follows
	mirror  map[string]*entry
	epoch   string        // of the Redis data: another one means that it was lost
	epochNo uint64        // counts epochs
	seq     uint64        // of the last change that is known
	missed  uint64        // before which changes were missed; 0 where none was
	clock   time.Duration // Redis' TIME, as of our birth; 0 where it isn't known
	fails   int           // commands that failed in a row
	away    bool          // Redis is left alone
	refusal error         // the error with which it answers, if it does
	back    bool          // it was away, and what it knows is to be told to all who went on alone
	anew    bool          // it may be another server than before: its sequence is not to be compared
	since   time.Time     // when away last changed
	err     error         // why it is away
	warned  time.Time     // when it was last told that a record isn't ours
	swept   time.Time
}

// NewRedisStore returns a store that shares its state through client. That
// Redis can't be reached is no error: the store joins it when it comes. The
// store should be closed when it is no longer used.
func NewRedisStore(client RedisClient, opts RedisOptions) (*RedisStore, error) {
	if v := reflect.ValueOf(client); client == nil || (v.Kind() == reflect.Pointer && v.IsNil()) {
		return nil, errors.New("holdoff: NewRedisStore: the client is nil")
	}
	opts.Namespace = cmp.Or(opts.Namespace, "default")
	opts.Prefix = cmp.Or(opts.Prefix, "holdoff")
	opts.Timeout = cmp.Or(opts.Timeout, storeTimeout)
	opts.PollInterval = cmp.Or(opts.PollInterval, defaultPoll)
	opts.MaxHold = cmp.Or(opts.MaxHold, defaultMaxHold)
	if opts.Logger == nil {
		opts.Logger = zap.NewNop()
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &RedisStore{
		client: client, opts: opts, replica: newReplica(), underway: make(chan struct{}, maxCalls),
		ctx: ctx, cancel: cancel, resync: make(chan struct{}, 1), deaf: make(chan struct{}, 1),
		mirror: make(map[string]*entry), born: time.Now(), since: time.Now(),
	}
	s.running.Go(s.listen)
	known := make(chan struct{})
	s.running.Go(func() {
		s.readAll()
		close(known)
		s.keepUp()
	})
	// A replica that starts in mid-hold obeys it from its first request on,
	// where Redis answers in time.
	select {
	case <-known:
	case <-time.After(opts.Timeout):
	}
	return s, nil
}

func (o *RedisOptions) validate() error {
	for _, f := range []struct{ name, value string }{{"Namespace", o.Namespace}, {"Prefix", o.Prefix}} {
		if err := redisrun.CheckName(f.value); err != nil {
			return fmt.Errorf("holdoff: RedisOptions.%s %w", f.name, err)
		}
	}
	if o.Timeout < 0 {
		return fmt.Errorf("holdoff: RedisOptions.Timeout is %v; it must not be negative", o.Timeout)
	}
	if o.MaxHold < 0 {
		return fmt.Errorf("holdoff: RedisOptions.MaxHold is %v; it must not be negative", o.MaxHold)
	}
	if o.PollInterval < minPoll {
		return fmt.Errorf("holdoff: RedisOptions.PollInterval is %v; it must be %v or more", o.PollInterval, minPoll)
	}
	return nil
}

// Close ends what the store does in the background, within a second whatever
// Redis does. What was learnt a moment ago is told first, if Redis answers. The
// client stays open.
func (s *RedisStore) Close() error {
	s.drain()
	s.cancel()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(500 * time.Millisecond):
		// The client is in the middle of a dial or a read, and its own timeouts
		// will end it.
	}
	return nil
}

// drain waits for exchanges that are under way, or about to be: that of a
// process which was told to slow down, and ends.
func (s *RedisStore) drain() {
	if s.Err() != nil || s.ctx.Err() != nil {
		return
	}
	for end := time.Now().Add(min(s.opts.Timeout, maxDrain)); time.Now().Before(end); {
		time.Sleep(drainStep)
		if s.exchanges.Load() == 0 {
			return
		}
	}
}

// Err returns why holds are not shared at present, or nil if they are. It takes
// three commands in a row without an answer before Redis counts as away.
func (s *RedisStore) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.away:
		return fmt.Errorf("%w, for %v: %w", errAway, time.Since(s.since).Round(time.Second), s.err)
	case s.refusal != nil:
		return fmt.Errorf("holdoff: Redis refuses: %w", s.refusal)
	}
	return nil
}

// All yields the keys that are not healthy, as far as this process knows, with
// their states.
func (s *RedisStore) All() iter.Seq2[string, State] {
	return func(yield func(string, State) bool) {
		s.mu.Lock()
		keys := make([]string, 0, len(s.mirror))
		states := make([]State, 0, len(s.mirror))
		for _, e := range s.mirror {
			if !e.state.over() {
				keys, states = append(keys, e.key), append(states, e.state)
			}
		}
		s.mu.Unlock()
		for i := range keys {
			if !yield(keys[i], states[i]) {
				return
			}
		}
	}
}

// Watch implements [Store].
func (s *RedisStore) Watch(key string, changed func(State)) (stop func()) {
	key = canonical(key)
	id := idOf(key)
	w := &changed
	s.mu.Lock()
	e := s.mirror[id]
	if e == nil {
		e = &entry{key: key, watchers: make(map[*func(State)]bool)}
		s.mirror[id] = e
	}
	e.watchers[w] = true
	state, lost := e.state, e.lost
	s.mu.Unlock()
	if !state.over() {
		changed(state)
	}
	if lost {
		changed(State{Lost: true}) // and is held by it still, and tells it again
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(e.watchers, w)
		s.prune(id, e)
	}
}

// Exchange implements [Store]. It is bounded by RedisOptions.Timeout, and not by
// its context.
func (s *RedisStore) Exchange(_ context.Context, key string, news News) (State, error) {
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	if away {
		return State{}, errAway
	}
	s.exchanges.Add(1)
	defer s.exchanges.Add(-1)
	key = canonical(key)
	id := idOf(key)
	keys := []string{s.name(id), s.name("index"), s.name("meta")}
	reply, err := s.run(exchangeScript, keys, s.args(id, key, news)...)
	if err != nil {
		return State{}, err
	}
	snap, granted, err := decodeReply(reply, s.opts.MaxHold)
	if err != nil {
		s.warnForeign(key, err)
		return State{}, err
	}
	state := s.adopt(snap)
	// As if it had been heard: data that are lost before it is would not be missed.
	s.take(id, key, state)
	state.Permits = granted
	return state, nil
}

// warnForeign tells, once a minute at most, of records that aren't ours. Their
// keys are not shared; nothing is written to them.
func (s *RedisStore) warnForeign(key string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.warned) >= time.Minute {
		s.warned = time.Now()
		s.opts.Logger.Warn("a key is not shared", zap.String("key", key), zap.String("record", s.name(idOf(key))), zap.Error(err))
	}
}
