package redisstore

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
	"github.com/redis/go-redis/v9"
)

// What an operator asks of Redis itself, whatever this process knows.

// Open returns a store that runs nothing in the background: for programs that look, and
// go.
func Open(client Client, opts Options) (*Store, error) {
	return open(client, opts)
}

// List reads the records that are not healthy, by their names, and where the sequence of
// changes stood before it read them. It changes nothing in Redis.
func (s *Store) List(ctx context.Context) (records map[string]hold.Snapshot, seq uint64, err error) {
	records = make(map[string]hold.Snapshot)
	for offset := 0; ; offset += pageSize {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		reply, err := s.run(indexScript, []string{s.name("meta"), s.name("index")}, "", offset, pageSize)
		if err != nil {
			return nil, 0, err
		}
		m, ok := decodeMeta(reply)
		if !ok {
			return nil, 0, errForm
		}
		if offset == 0 {
			seq = m.seq
		}
		ids := decodeIDs(reply)
		page, ok := s.snapshots(ids)
		if !ok {
			return nil, 0, errors.Join(errForm, s.Err())
		}
		for _, snap := range page {
			records[snap.key] = snap.state
		}
		if len(reply)-metaFields < pageSize {
			break
		}
	}
	maps.DeleteFunc(records, func(_ string, state hold.Snapshot) bool {
		return state.Phase == hold.Healthy && state.Attempts == 0
	})
	return records, seq, nil
}

// everything is the name of a record that stands for all records when it is cleared: a
// Transport's keys are not empty.
const everything = ""

// Clear releases a record for all replicas, and with it the narrower scopes in it: at once,
// whether Redis has the record or not. The name "" stands for all records. It returns the
// names of those that were not healthy.
func (s *Store) Clear(ctx context.Context, record string) (released []string, err error) {
	record = canonical(record)
	known, _, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for name := range known {
		if name != record && Covers(record, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	// The widest comes last: a replica that lets go of all reads no record that is still held.
	names = append(names, record)
	for page := range slices.Chunk(names, pageSize) {
		keys := s.keys("clear") // which is not used
		args := []any{s.name("changes"), s.candidate, firstRound}
		for _, name := range page {
			keys = append(keys, s.name(idOf(name)))
			args = append(args, idOf(name), name)
		}
		if _, err := s.run(clearScript, keys, args...); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if _, held := known[name]; held {
			released = append(released, name)
		}
	}
	return released, nil
}

// Covers reports whether a record is that of a scope inside another's.
func Covers(wide, name string) bool {
	if wide == everything {
		return true
	}
	key, part := scope.Split(name)
	wideKey, widePart := scope.Split(wide)
	return key == wideKey && scope.Parse(widePart).Covers(scope.Parse(part))
}

// ChannelLister is what [Namespaces] needs of a go-redis client.
type ChannelLister interface {
	PubSubChannels(ctx context.Context, pattern string) *redis.StringSliceCmd
}

// Namespaces returns the namespaces in use: those to whose changes a process listens, each
// with the wire versions of the listeners. It costs Redis a look at its channels, not at its
// keys. Of a Cluster, each node knows its own channels only.
func Namespaces(ctx context.Context, client ChannelLister, prefix string) (map[string][]string, error) {
	escaped := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(prefix)
	channels, err := client.PubSubChannels(ctx, escaped+":{*}:v*:changes").Result()
	if err != nil {
		return nil, err
	}
	found := make(map[string][]string)
	for _, channel := range channels {
		name, version, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(channel, prefix+":{"), ":changes"), "}:v")
		if ok {
			found[name] = append(found[name], version)
		}
	}
	return found, nil
}

// WireVersion is that of the records that this package reads and writes.
const WireVersion = wireVersion

// NameOf is the name in Redis of a part of a namespace's data, for a wire version.
func NameOf(prefix, namespace, version, part string) string {
	return prefix + ":{" + namespace + "}:v" + version + ":" + part
}

// A Change is what became of a record.
type Change struct {
	At     time.Time
	Record string
	State  hold.Snapshot // as it was then; its times are on the same clock as At
}

// maxChanges is how many changes of a namespace are looked at: all, as a rule.
const maxChanges = 2000

// Changes returns the last changes of a record and of what is inside it, the first one first,
// and the clears of everything.
func (s *Store) Changes(ctx context.Context, record string) (changes []Change, err error) {
	record = canonical(record)
	texts, err := s.run(changesScript, []string{s.name("changes")}, maxChanges)
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Backward(texts) {
		text, _ := v.(string)
		begin := time.Now()
		snap, ok := decodePayload(text, s.opts.MaxHold)
		if !ok || !(Covers(record, snap.key) || snap.key == everything) {
			continue
		}
		at := time.UnixMilli(snap.clock.Milliseconds())
		if snap.state.Phase != hold.Healthy {
			snap.state.Until = at.Add(snap.state.Until.Sub(begin))
		}
		if !snap.state.Last.IsZero() {
			snap.state.Last = at.Add(snap.state.Last.Sub(begin))
		}
		snap.state.Version = snap.seq
		if snap.cleared > 0 {
			snap.state.Cleared = snap.seq
		}
		changes = append(changes, Change{At: at, Record: snap.key, State: snap.state})
	}
	return changes, ctx.Err()
}

// Names are the names in Redis of all that a record of a namespace makes.
func Names(opts Options, key string) (names []string) {
	for _, part := range []string{idOf(canonical(key)), "index", "meta", "changes"} {
		names = append(names, NameOf(opts.Prefix, opts.Namespace, wireVersion, part))
	}
	return names
}
