package holdoff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	defaultPoll = time.Second
	minPoll     = 100 * time.Millisecond
	// awayAfter is how many commands in a row have to fail before Redis is left
	// alone, but for one poll per interval.
	awayAfter = 3
	// maxCalls bounds the commands under way: those that a stopped server keeps
	// hanging in the client can't pile up.
	maxCalls = 16
	// maxMirror bounds the keys of which a process keeps a copy.
	maxMirror = 64 << 10
	// maxRecords bounds the keys in Redis, for an attacker who makes us meet
	// refusals from ever new hosts. Above it, keys are held by each alone.
	maxRecords = 32 << 10
	// pushDelay is how long a poll that is ahead of the subscription waits for
	// it to catch up.
	pushDelay = 100 * time.Millisecond
	// lateness is how late a published change may be and still be believed.
	lateness = time.Second
	// seqBits of a version are the sequence, the rest the epoch.
	seqBits = 40
	// pageSize is how many records are read at a time.
	pageSize = 100
)

var (
	errAway   = errors.New("holdoff: Redis is away")
	errBusy   = errors.New("holdoff: too many Redis commands are under way")
	errLate   = errors.New("holdoff: Redis did not answer in time")
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
	client   RedisClient
	opts     RedisOptions
	replica  string
	born     time.Time // our clock counts from here
	calls    atomic.Uint64
	underway chan struct{} // a place for each command under way

	ctx     context.Context // of all that goes on in the background
	cancel  context.CancelFunc
	running sync.WaitGroup
	resync  chan struct{} // something was missed: read all again
	deaf    chan struct{} // the subscription delivers nothing: make another

	mu      sync.Mutex // guards what follows
	mirror  map[string]*entry
	epoch   string        // of the Redis data: another one means that it was lost
	epochNo uint64        // counts epochs
	seq     uint64        // up to which no change was missed
	clock   time.Duration // Redis' TIME, as of our birth; 0 where it isn't known
	fails   int           // commands that failed in a row
	away    bool          // Redis is left alone
	refused bool          // it answered with an error
	back    bool          // it was, and what it knows is to be told to all who went on alone
	since   time.Time     // when away last changed
	err     error         // why it is away
	warned  time.Time     // when it was last told that a record isn't ours
	swept   time.Time
}

// entry is what is known of one key.
type entry struct {
	key      string
	state    State
	watchers map[*func(State)]bool
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
		if len(f.value) > 128 {
			return fmt.Errorf("holdoff: RedisOptions.%s has %d bytes; at most 128 are allowed", f.name, len(f.value))
		}
		bad := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '{' || r == '}' || r == '\ufffd' }
		if i := strings.IndexFunc(f.value, bad); i >= 0 {
			return fmt.Errorf("holdoff: RedisOptions.%s is %q; braces, white space and control characters are not allowed", f.name, f.value)
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
// Redis does. The client stays open.
func (s *RedisStore) Close() error {
	s.cancel()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(900 * time.Millisecond):
		// The client is in the middle of a dial or a read, and its own timeouts
		// will end it.
	}
	return nil
}

// Err returns why Redis is left alone at present, or nil if it answers.
func (s *RedisStore) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.away {
		return nil
	}
	return fmt.Errorf("%w since %v: %w", errAway, time.Since(s.since).Round(time.Second), s.err)
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
	id := idOf(key)
	w := &changed
	s.mu.Lock()
	e := s.mirror[id]
	if e == nil {
		e = &entry{key: key, watchers: make(map[*func(State)]bool)}
		s.mirror[id] = e
	}
	e.watchers[w] = true
	state := e.state
	s.mu.Unlock()
	if !state.over() {
		changed(state)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(e.watchers, w)
		s.prune(id, e)
	}
}

// prune forgets what an entry says when its record has expired, and the entry
// when nobody watches it. The caller holds mu.
func (s *RedisStore) prune(id string, e *entry) {
	if e.state.over() {
		e.state = State{Version: e.state.Version}
		if len(e.watchers) == 0 {
			delete(s.mirror, id)
		}
	}
}

// over reports whether a state says nothing, or nothing any more.
func (s State) over() bool {
	if s.Phase == Healthy {
		return s.Attempts == 0 || time.Since(s.Last) > grace
	}
	return time.Since(s.Until) > grace
}

// Exchange implements [Store].
func (s *RedisStore) Exchange(ctx context.Context, key string, news News) (State, error) {
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	if away {
		return State{}, errAway
	}
	id := idOf(key)
	keys := []string{s.name(id), s.name("index"), s.name("meta")}
	reply, err := s.run(ctx, exchangeScript, keys, s.args(id, key, news)...)
	if err != nil {
		return State{}, err
	}
	snap, granted, err := decodeReply(reply, s.opts.MaxHold)
	if err != nil {
		s.warnForeign(key, err)
		return State{}, err
	}
	state := s.adopt(snap)
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

// adopt returns the state of a snapshot that was asked for, and sets our notion
// of Redis' clock by it.
func (s *RedisStore) adopt(snap snapshot) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = snap.clock - time.Since(s.born)
	if s.enterEpoch(snap.epoch) {
		signal(s.resync)
	}
	return s.stamp(snap)
}

// stamp orders a snapshot's state among those that this process has seen. The
// caller holds mu.
func (s *RedisStore) stamp(snap snapshot) State {
	state := snap.state
	state.Version = version(s.epochNo, snap.seq)
	return state
}

// version orders states by the epoch of the data and the sequence in it.
func version(epochNo, seq uint64) uint64 { return epochNo<<seqBits | seq }

func splitVersion(v uint64) (epochNo, seq uint64) { return v >> seqBits, v & (1<<seqBits - 1) }

// take adopts a state into the mirror, unless it is older than the one there,
// and tells the watchers.
func (s *RedisStore) take(id, key string, state State) {
	s.mu.Lock()
	e := s.mirror[id]
	if e == nil {
		if len(s.mirror) >= maxMirror || (state.Phase == Healthy && state.Attempts == 0) {
			s.mu.Unlock()
			return
		}
		e = &entry{key: key, watchers: make(map[*func(State)]bool)}
		s.mirror[id] = e
	}
	if !state.Lost && state.Version <= e.state.Version && !s.back {
		s.mu.Unlock()
		return
	}
	e.state = state
	told := make([]func(State), 0, len(e.watchers))
	for w := range e.watchers {
		told = append(told, *w)
	}
	s.prune(id, e)
	s.mu.Unlock()
	for _, changed := range told {
		changed(state)
	}
}

// keepUp polls, and reads all again when something was missed.
func (s *RedisStore) keepUp() {
	for {
		wait := s.opts.PollInterval - time.Duration(rand.Int64N(int64(s.opts.PollInterval)/5))
		select {
		case <-s.ctx.Done():
			return
		case <-s.resync:
			s.readAll()
		case <-time.After(wait):
			s.poll()
			s.sweep()
		}
	}
}

// poll compares the sequence of changes with what was seen of it.
func (s *RedisStore) poll() {
	reply, err := s.run(s.ctx, pollScript, []string{s.name("meta")})
	if err != nil {
		return
	}
	epoch, seq, clock, ok := decodeMeta(reply)
	if !ok {
		return
	}
	s.mu.Lock()
	s.clock = clock - time.Since(s.born)
	s.mu.Unlock()
	if s.seen(epoch, seq) {
		return
	}
	// The subscription may be a moment behind. Where it stays so, it is deaf:
	// go-redis does not find a link that swallows everything.
	select {
	case <-s.ctx.Done():
		return
	case <-time.After(pushDelay):
	}
	if !s.seen(epoch, seq) {
		signal(s.deaf)
		s.readAll()
	}
}

// sweep forgets what has passed unnoticed: nobody asked, and the records have
// expired.
func (s *RedisStore) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.swept) < grace/4 {
		return
	}
	s.swept = time.Now()
	for id, e := range s.mirror {
		s.prune(id, e)
	}
}

// seen reports whether all changes up to seq were taken in.
func (s *RedisStore) seen(epoch string, seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return epoch == s.epoch && seq <= s.seq
}

// readAll reads every record that matters, and finds those that are gone.
func (s *RedisStore) readAll() {
	found := make(map[string]bool)
	var start uint64 // the sequence when the reading began
	for offset := 0; ; offset += pageSize {
		reply, err := s.run(s.ctx, indexScript, []string{s.name("index"), s.name("meta")}, offset, pageSize)
		if err != nil {
			return
		}
		epoch, seq, _, ok := decodeMeta(reply)
		if !ok {
			return
		}
		if offset == 0 {
			start = seq
			s.mu.Lock()
			s.enterEpoch(epoch)
			s.mu.Unlock()
		}
		ids := decodeIDs(reply)
		if !s.readPage(ids, found, true) {
			return
		}
		if len(reply)-3 < pageSize {
			break
		}
	}
	// The index moves while it is read, and a key may have slipped from a page
	// to one that was read before.
	for ids := range slices.Chunk(s.missing(found, start), pageSize) {
		if !s.readPage(ids, found, false) {
			return
		}
	}
	s.mu.Lock()
	s.seq, s.back = max(s.seq, start), false
	gone := make(map[string]State)
	for id, e := range s.mirror {
		if e.state.Version == 0 || found[id] {
			s.prune(id, e)
			continue
		}
		switch no, seq := splitVersion(e.state.Version); {
		case no < s.epochNo:
			gone[id] = State{Lost: true}
		case seq <= start:
			// Recovered, or cleared by an operator, and we did not hear of it.
			gone[id] = State{Version: version(s.epochNo, start)}
		}
	}
	s.mu.Unlock()
	for id, state := range gone {
		s.take(id, "", state)
	}
}

// missing returns the ids of keys that were known by start and not found.
func (s *RedisStore) missing(found map[string]bool, start uint64) (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.mirror {
		no, seq := splitVersion(e.state.Version)
		if !found[id] && !e.state.over() && no == s.epochNo && seq <= start {
			ids = append(ids, id)
		}
	}
	return ids
}

// readPage reads the records of ids and notes which there are. An id that is
// listed in the index and has no record was evicted, and counts as lost.
func (s *RedisStore) readPage(ids []string, found map[string]bool, listed bool) bool {
	if len(ids) == 0 {
		return true
	}
	keys := []string{s.name("meta")}
	for _, id := range ids {
		keys = append(keys, s.name(id))
	}
	reply, err := s.run(s.ctx, readScript, keys, s.opts.MaxHold.Milliseconds())
	if err != nil || len(reply) != len(ids) {
		return false
	}
	for i, id := range ids {
		fields, _ := reply[i].([]any)
		snap, ok := decodeSnapshot(fields, s.opts.MaxHold)
		found[id] = ok || listed
		if !ok {
			if listed {
				s.take(id, "", State{Lost: true})
			}
			continue
		}
		s.take(id, snap.key, s.adopt(snap))
	}
	return true
}

// enterEpoch starts to count anew where the data of Redis are other ones than
// before, and reports whether they are. The caller holds mu.
func (s *RedisStore) enterEpoch(epoch string) bool {
	if epoch == s.epoch {
		return false
	}
	s.epoch, s.seq = epoch, 0
	s.epochNo++
	return true
}

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
	// Close may redial for seconds: nobody waits for it.
	defer func() { go sub.Close() }()
	messages := sub.ChannelWithSubscriptions()
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
				signal(s.resync) // whatever was said in between is lost
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
	gap := s.enterEpoch(snap.epoch) || snap.seq > s.seq+1
	if !gap {
		s.seq = max(s.seq, snap.seq)
	}
	state := s.stamp(snap)
	s.mu.Unlock()
	if gap || late {
		// What was on the way for long has lost its sense of time.
		signal(s.resync)
	}
	if !late {
		s.take(snap.id, snap.key, state)
	}
}

// signal leaves a mark for a loop that is perhaps busy.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
