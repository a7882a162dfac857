package postgres

import (
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/jackc/pgx/v5"
)

var (
	//go:embed select.sql
	selectFrom string
	//go:embed upsert.sql
	upsert string
)

// keepFor is how long a row stays when nothing in it matters any more.
const keepFor = 2 * time.Minute

// change is what Record.Add or Record.Commit does to a record.
type change func(rec *holdoff.Record, now time.Time) holdoff.Reply

// Report implements [holdoff.Store]. It is bounded by Options.Timeout.
func (s *Store) Report(ctx context.Context, key string, r holdoff.Report) (holdoff.Reply, error) {
	r.Replica = shown(r.Replica)
	return s.update(ctx, key, false, func(rec *holdoff.Record, now time.Time) holdoff.Reply { return rec.Add(r, now, s.opts.MaxHold) })
}

// Commit implements [holdoff.Store]. It is bounded by Options.Timeout.
func (s *Store) Commit(ctx context.Context, key string, d holdoff.Decision) (holdoff.Reply, error) {
	d.MaxAge = max(d.MaxAge, s.opts.Timeout)
	return s.update(ctx, key, true, func(rec *holdoff.Record, now time.Time) holdoff.Reply { return rec.Commit(d, now) })
}

func (s *Store) update(ctx context.Context, key string, decided bool, do change) (reply holdoff.Reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	if reply, err = s.transact(ctx, key, decided, do); err != nil {
		reply, err = holdoff.Reply{}, fmt.Errorf("holdoff/postgres: %q is not shared: %w", shown(key), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = err
	return reply, err
}

// transact changes the record of a key in two round trips, between which the key is
// locked: by its id, since it may have no row yet. A process that is stopped just then
// loses its transaction, and the lock, after Timeout.
func (s *Store) transact(ctx context.Context, key string, decided bool, do change) (reply holdoff.Reply, err error) {
	if s.ctx.Err() != nil {
		return reply, errClosed
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return reply, err
	}
	defer conn.Release() // a connection whose transaction did not end is closed
	id, r := digest(s.opts.Namespace, key), row{}
	begin := &pgx.Batch{}
	begin.Queue(`begin isolation level read committed read write`)
	begin.Queue(`select set_config('idle_in_transaction_session_timeout', $1, true)`, strconv.FormatInt(s.opts.Timeout.Milliseconds(), 10))
	begin.Queue(`select pg_advisory_xact_lock($1)`, lockOf(id))
	begin.Queue(selectFrom+`(select 1) as one left join holdoff on id = $1`, id[:]).QueryRow(func(from pgx.Row) error { return r.scan(from) })
	if err := conn.SendBatch(ctx, begin).Close(); err != nil {
		return reply, err
	}
	rec, damaged := s.decode(r)
	before := rec
	reply = do(&rec, r.now)

	end := &pgx.Batch{}
	if exists := r.id != nil; damaged || !reflect.DeepEqual(rec, before) && (exists || !rec.Forgettable(r.now)) {
		if !exists && s.mirror.Len() >= maxRecords {
			return reply, holdoff.NotShared("there are too many records")
		}
		keep := slices.MaxFunc([]time.Time{r.now, rec.Until.Time(), rec.HintUntil.Time(), rec.Keep.Time()}, time.Time.Compare)
		memory, _ := json.Marshal(rec.Memory) // of numbers
		rec.Memory = holdoff.Record{}.Memory  // it has a column of its own, which a report leaves as it is
		record, _ := json.Marshal(rec)        // of numbers, words and the names of replicas
		end.Queue(upsert, id[:], s.opts.Namespace, shown(key), record, memory, keep.Add(keepFor), decided || damaged, reply.Changed).
			QueryRow(func(from pgx.Row) error { return from.Scan(&r.version) })
		if reply.Changed {
			end.Queue(`select pg_notify($1, $2)`, s.channel, s.replica)
		}
	}
	end.Queue(`commit`)
	if err := conn.SendBatch(ctx, end).Close(); err != nil {
		return reply, err
	}
	reply.Snapshot = r.here(reply.Snapshot, s.opts.MaxHold)
	known := reply.Snapshot
	known.Permits = 0
	s.mirror.Put(shown(key), known, false)
	return reply, nil
}

// lockOf returns the lock of a key. Two keys that have one wait for each other.
func lockOf(id id) int64 { return int64(binary.BigEndian.Uint64(id[:])) }

// row is a row as it was read.
type row struct {
	id, record, memory []byte
	key                string
	version            int64
	oldest             int64     // transaction that was under way
	now                time.Time // by the database's clock, rounded up: a hint is never undercut
	local              time.Time // the same moment, by ours
}

func (r *row) scan(from pgx.Row) error {
	err := from.Scan(&r.now, &r.oldest, &r.id, &r.key, &r.version, &r.record, &r.memory)
	r.local, r.now = time.Now(), r.now.Add(time.Millisecond-1).Truncate(time.Millisecond)
	return err
}

// here returns a state with its times by the clock of this process, and none of them
// beyond the longest hold.
func (r *row) here(state holdoff.State, longest time.Duration) holdoff.State {
	state.Version = uint64(r.version)
	if !state.Until.IsZero() {
		state.Until = r.local.Add(min(state.Until.Sub(r.now), longest))
	}
	if !state.Last.IsZero() {
		state.Last = r.local.Add(min(state.Last.Sub(r.now), 0))
	}
	return state
}

// decode returns the record of a row, or an empty one where it can't be read.
func (s *Store) decode(r row) (rec holdoff.Record, damaged bool) {
	if r.record == nil {
		return rec, false
	}
	err := json.Unmarshal(r.record, &rec)
	if err == nil {
		err = json.Unmarshal(r.memory, &rec.Memory)
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.damaged = fmt.Errorf("holdoff/postgres: the record of %q could not be read: %w", r.key, err)
		return holdoff.Record{}, true
	}
	return rec, false
}
