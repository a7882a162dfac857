// Package redisstore shares the states of keys through Redis: a register in Lua, a copy
// of it in each process, and a subscription that keeps the copy up to date.
package redisstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/mirror"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// A store that is closed waits for what is being reported, in steps, and not for
	// long.
	maxDrain  = 300 * time.Millisecond
	drainStep = 20 * time.Millisecond

	defaultTimeout = 250 * time.Millisecond
	defaultMaxHold = 5 * time.Minute
	// damageShown is how long Err reports data that had to be replaced.
	damageShown = time.Minute

	defaultPoll = time.Second
	minPoll     = 100 * time.Millisecond
	// MaxRecords bounds the keys in Redis, for an attacker who makes us meet
	// refusals from ever new hosts. Above it, keys are held by each alone.
	MaxRecords = 32 << 10
)

var (
	errAway   = errors.New("holdoff: Redis is unreachable")
	errBusy   = errors.New("holdoff: too many Redis commands are in progress")
	errClosed = errors.New("holdoff: Store is closed")
)

// Store shares keys among all processes that use one Redis (6.2 or later,
// or Valkey; a Sentinel or Cluster set-up as well). It keeps a copy of what
// Redis knows, so that looking costs nothing: changes come by pub/sub, and a
// poll finds those that pub/sub lost. Where Redis fails, each process continues
// alone, and they resynchronise when it is back.
//
// It shares the client with its other users, and doesn't close it.
type Store struct {
	client     Client
	opts       Options
	start      time.Time     // our clock counts from here
	exchanges  atomic.Int64  // under way
	underway   chan struct{} // a place for each command under way
	committing chan struct{} // a place for each commit under way

	ctx      context.Context // of all that goes on in the background
	cancel   context.CancelFunc
	running  sync.WaitGroup
	fullRead chan struct{} // something was missed: read all again
	stalled  chan struct{} // the subscription delivers nothing: make another
	poke     chan struct{} // poll now

	candidate string // the secret that this process proposes where there is none

	mirror mirror.Mirror // of records by their canonical names

	mu            sync.Mutex    // guards what follows
	datasetID     string        // of the Redis data: another one means that it was lost
	epochCount    uint64        // counts epochs
	seq           uint64        // of the last change that is known
	missed        uint64        // before which changes were missed; 0 where none was
	redisOffset   time.Duration // Redis' TIME, as of our birth; 0 where it isn't known
	fails         int           // commands that failed in a row
	away          bool          // Redis is sent one poll per interval, and nothing else
	refusal       error         // the error with which it answers, if it does
	serverChanged bool          // it may be another server than before: its sequence is not to be compared
	since         time.Time     // when away last changed
	err           error         // why it is unreachable
	warned        time.Time     // when a warning about a record was last logged
	secret        string        // what proves that a published change is a record's
	damaged       error         // data that had to be replaced, at damagedAt
	damagedAt     time.Time
	doubted       time.Time // when a change without proof last made us poll
	received      time.Time // the last proven message; zero where the subscription may be dead
	answeredAt    time.Time // the last command that was answered
	cleared       int64     // the last clear by an operator that was obeyed
	clearedAt     time.Time // when it was
}

// New returns a store that shares its state through client. That
// Redis can't be reached is no error: the store joins it when it comes. The
// store should be closed when it is no longer used.
func New(client Client, opts Options) (*Store, error) {
	s, err := open(client, opts)
	if err != nil {
		return nil, err
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
	case <-time.After(s.opts.Timeout):
	}
	return s, nil
}

// open returns a store with nothing in the background yet.
func open(client Client, opts Options) (*Store, error) {
	if v := reflect.ValueOf(client); client == nil || (v.Kind() == reflect.Pointer && v.IsNil()) {
		return nil, errors.New("holdoff: NewRedisStore: the client is nil")
	}
	opts.Namespace = cmp.Or(opts.Namespace, "default")
	opts.Prefix = cmp.Or(opts.Prefix, "holdoff")
	opts.Timeout = cmp.Or(opts.Timeout, defaultTimeout)
	opts.PollInterval = cmp.Or(opts.PollInterval, defaultPoll)
	opts.MaxHold = cmp.Or(opts.MaxHold, defaultMaxHold)
	if opts.Logger == nil {
		opts.Logger = zap.NewNop()
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Store{
		client: client, opts: opts, underway: make(chan struct{}, maxCalls), committing: make(chan struct{}, maxCommits),
		ctx: ctx, cancel: cancel, fullRead: make(chan struct{}, 1), stalled: make(chan struct{}, 1), poke: make(chan struct{}, 1), candidate: rand.Text(),
		start: time.Now(), since: time.Now(),
	}, nil
}

// Close ends what the store does in the background, within a second whatever
// Redis does. What was learned a moment ago is reported first, if Redis answers. The
// client stays open.
func (s *Store) Close() error {
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
// process that was throttled, and exits.
func (s *Store) drain() {
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
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.away:
		return fmt.Errorf("%w, for %v: %w", errAway, time.Since(s.since).Round(time.Second), s.err)
	case s.refusal != nil:
		return fmt.Errorf("holdoff: Redis rejects commands: %w", s.refusal)
	case s.damaged != nil && time.Since(s.damagedAt) < damageShown:
		return s.damaged
	}
	return nil
}

// All yields the keys that are not healthy, as far as this process knows, with
// their states.
func (s *Store) All() iter.Seq2[string, hold.Snapshot] { return s.mirror.All() }

// Watch calls changed with the states of the records of key, and of its scopes, that
// are known here, and when they change.
func (s *Store) Watch(key string, changed func(scope string, state hold.Snapshot)) (stop func()) {
	return s.mirror.Watch(canonical(key), changed)
}

// Report adds r to the record of key. It is bounded by Options.Timeout, and not by
// its context.
func (s *Store) Report(_ context.Context, key string, r hold.Report) (hold.Reply, error) {
	return s.update(reportScript, key, func(id, key string) []any { return s.reportArgs(id, key, r) })
}

// Commit starts the round of d. It is bounded as Report is.
func (s *Store) Commit(_ context.Context, key string, d hold.Decision) (hold.Reply, error) {
	d.MaxAge = max(d.MaxAge, s.opts.Timeout)
	return s.update(commitScript, key, func(id, key string) []any { return s.commitArgs(id, key, d) })
}

func (s *Store) update(script *redis.Script, key string, args func(id, key string) []any) (hold.Reply, error) {
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	if away {
		return hold.Reply{}, errAway
	}
	s.exchanges.Add(1)
	defer s.exchanges.Add(-1)
	key = canonical(key)
	id := idOf(key)
	raw, err := s.run(script, s.keys(id), args(id, key)...)
	if err != nil {
		return hold.Reply{}, err
	}
	if len(raw) == 2 && raw[0] == "behind" {
		var n number
		s.catchUp(n.read(raw[1], 1<<53))
		return hold.Reply{}, hold.Behind
	}
	reply, snap, err := s.decodeReply(raw)
	s.noteRepair(key, raw, err)
	if err != nil {
		return hold.Reply{}, err
	}
	granted, first := reply.Snapshot.Permits, reply.Snapshot.First
	reply.Snapshot = s.observe(snap)
	// Record our own change as if it had been received by pub/sub. Otherwise, if
	// Redis loses it before it is published, no replica would notice the loss.
	s.mirror.Put(key, reply.Snapshot, false)
	reply.Snapshot.Permits, reply.Snapshot.First = granted, first
	return reply, nil
}

// noteRepair logs, once a minute at most, that a key is not shared, or that its
// record or the meta data had to be replaced because they could not be read.
func (s *Store) noteRepair(key string, raw []any, err error) {
	repaired := len(raw) >= replyFields && raw[replyFields-1] == "repaired"
	if err == nil && !repaired {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.damaged, s.damagedAt = fmt.Errorf("holdoff: the key of record %s is not shared: %w", s.name(idOf(key)), err), time.Now()
	}
	if repaired {
		s.damaged, s.damagedAt = fmt.Errorf("holdoff: the record %s, or the meta data, could not be read and were replaced", s.name(idOf(key))), time.Now()
	}
	if time.Since(s.warned) < time.Minute {
		return
	}
	s.warned = time.Now()
	if err != nil {
		s.opts.Logger.Warn("a key is not shared", zap.String("key", key), zap.String("record", s.name(idOf(key))), zap.Error(err))
		return
	}
	s.opts.Logger.Warn("damaged data in Redis were replaced", zap.String("key", key), zap.String("record", s.name(idOf(key))))
}
