package postgres

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/jackc/pgx/v5"
)

//go:embed select.sql
var selectFrom string

//go:embed upsert.sql
var upsert string

// change is what Record.Add or Record.Commit does to a record.
type change func(rec *holdoff.Record, now time.Time) holdoff.Reply

// Report implements [holdoff.Store]. It is bounded by Options.Timeout.
func (s *Store) Report(ctx context.Context, record string, r holdoff.Report) (holdoff.Reply, error) {
	r.Replica = text(r.Replica)
	return s.update(ctx, text(record), false, func(rec *holdoff.Record, now time.Time) holdoff.Reply { return rec.Add(r, now, s.opts.MaxHold) })
}

// Commit implements [holdoff.Store]. It is bounded by Options.Timeout.
func (s *Store) Commit(ctx context.Context, record string, d holdoff.Decision) (holdoff.Reply, error) {
	d.MaxAge = max(d.MaxAge, s.opts.Timeout)
	return s.update(ctx, text(record), true, func(rec *holdoff.Record, now time.Time) holdoff.Reply { return rec.Commit(d, now) })
}

func (s *Store) update(ctx context.Context, name string, decided bool, do change) (reply holdoff.Reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	if reply, err = s.transact(ctx, name, decided, do); err != nil {
		reply, err = holdoff.Reply{}, fmt.Errorf("holdoff/postgres: %q is not shared: %w", name, err)
	}
	s.note(&s.refused, err)
	return reply, err
}

// transact changes a record in two round trips, between which its name is locked: it
// may have no row yet. Two names that have one lock wait for each other. A process that
// is stopped just then loses its transaction, and the lock, after Timeout.
func (s *Store) transact(ctx context.Context, name string, decided bool, do change) (reply holdoff.Reply, err error) {
	if s.ctx.Err() != nil {
		return reply, errClosed
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return reply, err
	}
	defer conn.Release() // a connection whose transaction did not end is closed
	begin, r := &pgx.Batch{}, row{}
	begin.Queue(`begin isolation level read committed read write`)
	begin.Queue(`select set_config('idle_in_transaction_session_timeout', $1, true), pg_advisory_xact_lock(hashtextextended($2, 0))`,
		fmt.Sprint(s.opts.Timeout.Milliseconds()), s.opts.Namespace+" "+name)
	begin.Queue(selectFrom+`(select 1) as one left join holdoff on namespace = $1 and key = $2`, s.opts.Namespace, name).QueryRow(r.scan)
	if err := conn.SendBatch(ctx, begin).Close(); err != nil {
		return reply, err
	}
	rec, damaged := s.decode(r)
	before := rec
	reply = do(&rec, r.now)

	end := &pgx.Batch{}
	if exists := r.version > 0; damaged || !reflect.DeepEqual(rec, before) && (exists || !rec.Forgettable(r.now)) {
		if !exists && s.mirror.Len() >= maxRecords {
			return reply, holdoff.NotShared("there are too many records")
		}
		keep := max(holdoff.Millis(r.now.UnixMilli()), rec.Until, rec.HintUntil, rec.Keep)
		memory, _ := json.Marshal(rec.Memory) // of numbers
		rec.Memory = holdoff.Memory{}         // it has a column of its own, which a report leaves as it is
		record, _ := json.Marshal(rec)        // of numbers, words and the names of replicas
		end.Queue(upsert, s.opts.Namespace, name, record, memory, keep.Time(), decided || damaged, reply.Changed, s.channel, s.replica).
			QueryRow(func(from pgx.Row) error { return from.Scan(&r.version, nil) })
	}
	end.Queue(`commit`)
	if err := conn.SendBatch(ctx, end).Close(); err != nil {
		return reply, err
	}
	reply.Snapshot = r.here(reply.Snapshot, s.opts.MaxHold)
	s.mirror.Put(name, reply.Snapshot, false)
	return reply, nil
}

// row is a row as it was read.
type row struct {
	key             string
	version, oldest int64 // oldest transaction that was under way
	record, memory  []byte
	now, local      time.Time // one moment by the database's clock, rounded up so that no hint is undercut, and by ours
}

func (r *row) scan(from pgx.Row) error {
	err := from.Scan(&r.now, &r.oldest, &r.key, &r.version, &r.record, &r.memory)
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
	if err := errors.Join(json.Unmarshal(r.record, &rec), json.Unmarshal(r.memory, &rec.Memory)); err != nil {
		s.note(&s.damaged, fmt.Errorf("holdoff/postgres: the record of %q could not be read: %w", r.key, err))
		return holdoff.Record{}, true
	}
	return rec, false
}
