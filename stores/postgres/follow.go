package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/jackc/pgx/v5"
)

//go:embed schema.sql
var schema string

var errClosed = errors.New("the store is closed")

// follow keeps up with the table, one session after another. It calls joined when the
// table was read.
func (s *Store) follow(joined func()) {
	defer joined()
	for s.ctx.Err() == nil {
		s.note(&s.lost, fmt.Errorf("holdoff/postgres: the database is unreachable: %w", s.session(joined)))
		select {
		case <-s.ctx.Done():
		case <-time.After(minPoll/2 + rand.N(s.opts.PollInterval)): // a thousand replicas do not come back at once
		}
	}
}

// session reads the table, and then what changes in it, until the connection is lost.
// Notifications and polls share a connection: one that swallows notifications fails
// the next poll.
func (s *Store) session(joined func()) error {
	ctx, cancel := context.WithTimeout(s.ctx, sessionTimeout)
	defer cancel()
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	conn := pooled.Hijack()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.opts.Timeout)
		defer cancel()
		conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, schema+`listen `+s.channel); err != nil {
		return err
	}
	gap, swept := spread, time.Now()
	for cursor, news, poked := int64(0), false, false; ; {
		if cursor, news, err = s.read(conn, cursor); err != nil {
			return err
		}
		s.note(&s.lost, nil)
		joined()
		if time.Since(swept) > sweepInterval {
			swept = time.Now()
			if err := s.sweep(conn); err != nil {
				return err
			}
		}
		// Anybody may notify. Where that led to nothing new, the next reading waits.
		if gap = min(2*gap, s.opts.PollInterval); news || !poked {
			gap = spread
		}
		if poked, err = s.wait(conn, gap); err != nil {
			return err
		}
	}
}

// wait returns when another replica has notified, or at the time of the next poll. It
// takes in what else comes within gap, so that many notifications are one reading.
func (s *Store) wait(conn *pgx.Conn, gap time.Duration) (poked bool, err error) {
	end := time.Now().Add(s.opts.PollInterval - rand.N(s.opts.PollInterval/5))
	for {
		ctx, cancel := context.WithDeadline(s.ctx, end)
		n, err := conn.WaitForNotification(ctx)
		cancel()
		switch {
		case err != nil && conn.IsClosed():
			return false, err
		case err != nil:
			return poked, nil // it is time
		case !poked && (n == nil || n.Payload != s.replica):
			poked, end = true, time.Now().Add(rand.N(gap))
		}
	}
}

// read takes in what changed since cursor, and returns the next one: the oldest
// transaction that was under way, whose changes may not have been seen.
//
// With 0 it reads everything, as after a time without a connection. All watchers are
// told then, and those of a key that is no longer in the table, which was truncated or
// is another server's, are told that it is lost.
func (s *Store) read(conn *pgx.Conn, cursor int64) (next int64, news bool, err error) {
	all, timeout, missing := cursor == 0, s.opts.Timeout, map[string]holdoff.State{}
	if all {
		timeout, missing = max(timeout, sessionTimeout), maps.Collect(s.mirror.All())
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	rows, _ := conn.Query(ctx, selectFrom+`holdoff where namespace = $1 and version >= $2`, s.opts.Namespace, cursor) // rows.Err has its error
	defer rows.Close()
	r := row{oldest: cursor}
	for rows.Next() && r.scan(rows) == nil {
		rec, _ := s.decode(r)
		state := rec.Add(holdoff.Report{}, r.now, s.opts.MaxHold).Snapshot // it checks the times of this copy
		news = s.mirror.Put(r.key, r.here(state, s.opts.MaxHold), all) || news
		delete(missing, r.key)
	}
	if err := rows.Err(); err != nil {
		return cursor, false, err
	}
	for record := range missing {
		s.mirror.Put(record, holdoff.State{Lost: true}, true)
	}
	return max(r.oldest, 1), news, nil
}

// sweep forgets what is over, here and in the table.
func (s *Store) sweep(conn *pgx.Conn) error {
	s.note(&s.damaged, nil)
	ctx, cancel := context.WithTimeout(s.ctx, sessionTimeout)
	defer cancel()
	_, err := conn.Exec(ctx, `delete from holdoff where namespace = $1 and expires < clock_timestamp()`, s.opts.Namespace)
	return err
}
