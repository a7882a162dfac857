// Package postgres shares the states of keys among all processes that use one
// PostgreSQL (13 or later): a [holdoff.Store] in one table.
//
// A row holds the [holdoff.Record] of one key. A report is a short transaction that
// locks the key, and changes the record by Record.Add or Record.Commit. NOTIFY has the
// other processes read what changed, and a poll finds what NOTIFY did not bring. The
// database's clock is the only clock.
package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-holdoff/holdoff"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options are the settings of a [Store]. The zero value is ready for use.
type Options struct {
	// Namespace separates fleets that share a database: those with one namespace obey
	// each other. At most 128 bytes. If empty, "default".
	Namespace string
	// Timeout bounds each report, with the wait for a connection of the pool. If
	// zero, 250 ms.
	Timeout time.Duration
	// PollInterval is how often the store looks whether it missed a change: the
	// longest that a hold can go unnoticed where NOTIFY fails. If zero, 1 s; at least
	// 100 ms.
	PollInterval time.Duration
	// MaxHold is the longest hold that is believed, whichever replica reported it: the largest
	// Transport.MaxHold of the fleet. If zero, five minutes.
	MaxHold time.Duration
}

// Store is a [holdoff.Store] in a PostgreSQL. It keeps a copy of what the table says,
// so that looking costs nothing. Where the database fails, each process continues
// alone, and they resynchronise when it is back.
type Store struct {
	pool    *pgxpool.Pool
	opts    Options
	channel string // of notifications
	replica string // marks those of this process
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // follow

	mirror  holdoff.Mirror
	mu      sync.Mutex // guards what follows
	lost    error      // why the session with the database ended
	refused error      // why the last report failed
	damaged error      // a record that could not be read
}

const (
	minPoll        = 100 * time.Millisecond
	sessionTimeout = 5 * time.Second      // for a reading of the whole table, and what goes before it
	spread         = 4 * time.Millisecond // spreads the readings of replicas that were notified at once
	sweepInterval  = 15 * time.Second

	maxName = 1 << 10 // bytes; a Transport's records have shorter names
	// maxRecords bounds the records of a namespace: an attacker may make us meet
	// refusals from ever new hosts.
	maxRecords = 32 << 10
)

// New returns a store that shares its state through the database of pool, in the
// table of schema.sql, which it creates where it is missing. It takes one connection
// out of the pool for itself, and others while it reports. That the database can't be
// reached is no error: the store joins it when it comes. ctx and Options.Timeout bound
// the wait for a first reading. The store should be closed when it is no longer used;
// the pool stays open.
func New(ctx context.Context, pool *pgxpool.Pool, opts Options) (*Store, error) {
	opts = Options{
		Namespace: cmp.Or(opts.Namespace, "default"), Timeout: cmp.Or(opts.Timeout, 250*time.Millisecond),
		PollInterval: cmp.Or(opts.PollInterval, time.Second), MaxHold: cmp.Or(opts.MaxHold, 5*time.Minute),
	}
	switch {
	case pool == nil:
		return nil, errors.New("holdoff/postgres: New: the pool is nil")
	case len(opts.Namespace) > 128 || text(opts.Namespace) != opts.Namespace:
		return nil, fmt.Errorf("holdoff/postgres: Options.Namespace is %.128q; it must be text of at most 128 bytes", opts.Namespace)
	case opts.Timeout < time.Millisecond || opts.MaxHold < 0 || opts.PollInterval < minPoll:
		return nil, fmt.Errorf("holdoff/postgres: Options are %+v; durations must be positive, and PollInterval 100 ms or more", opts)
	}
	channel := fmt.Sprintf("holdoff_%.16x", sha256.Sum256([]byte(opts.Namespace)))
	s := &Store{pool: pool, opts: opts, channel: channel, replica: rand.Text()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	// A replica that starts while a key is held obeys from its first request on, where
	// the database answers in time.
	joining, joined := context.WithTimeout(ctx, opts.Timeout)
	s.running.Go(func() { s.follow(joined) })
	<-joining.Done()
	return s, nil
}

// Close ends what the store does in the background.
func (s *Store) Close() error {
	s.cancel()
	s.running.Wait()
	s.note(&s.lost, errClosed)
	return nil
}

// Err returns why holds are not shared at present, or nil if they are. Of a record
// that could not be read, and that the next report replaces, it tells for some seconds.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.lost, s.refused, s.damaged)
}

// All yields the records that are not healthy, as far as this process knows, with
// their states.
func (s *Store) All() iter.Seq2[string, holdoff.State] { return s.mirror.All() }

// Watch implements [holdoff.Store].
func (s *Store) Watch(key string, changed func(scope string, state holdoff.State)) (stop func()) {
	return s.mirror.Watch(text(key), changed)
}

// note keeps the last error of a kind, or that there is none.
func (s *Store) note(kind *error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*kind = err
}

// text is a name as the table has it. What is no text, or too long, has a hash there.
func text(name string) string {
	if len(name) <= maxName && utf8.ValidString(name) && !strings.Contains(name, "\x00") {
		return name
	}
	return fmt.Sprintf("%.32q~%x", name, sha256.Sum256([]byte(name)))
}
