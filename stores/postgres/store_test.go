package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/storetest"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"
)

// TestMain runs the tests, or one replica of a fleet where a test has started this
// binary again: see startReplica.
func TestMain(m *testing.M) {
	if config := os.Getenv(replicaEnv); config != "" {
		runReplica(config)
		return
	}
	goleak.VerifyTestMain(m)
}

func join(t testing.TB, pool *pgxpool.Pool, opts Options) *Store {
	t.Helper()
	if opts.Timeout == 0 {
		opts.Timeout = 5 * time.Second // many processes, few cores
	}
	s, err := New(t.Context(), pool, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var hint = holdoff.Report{Replica: "a", Status: 429, Hint: time.Minute, ServerDirected: true}

func report(t testing.TB, s *Store, key string, r holdoff.Report) holdoff.Reply {
	t.Helper()
	r.Version = 1
	reply, err := s.Report(t.Context(), key, r)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// watch returns the last state that s told of key.
func watch(t testing.TB, s *Store, key string) func() holdoff.State {
	var last atomic.Pointer[holdoff.State]
	last.Store(&holdoff.State{})
	t.Cleanup(s.Watch(key, func(_ string, state holdoff.State) { last.Store(&state) }))
	return func() holdoff.State { return *last.Load() }
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

func TestNew_OptionsOutOfBoundsReturnError(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, opts := range []Options{
		{Namespace: strings.Repeat("n", 129)}, {Namespace: "a\x00"}, {Namespace: "\xff"},
		{Timeout: -1}, {MaxHold: -1}, {PollInterval: time.Millisecond},
	} {
		if s, err := New(t.Context(), pool, opts); err == nil {
			s.Close()
			t.Errorf("%+v: no error", opts)
		}
	}
	if _, err := New(t.Context(), nil, Options{}); err == nil {
		t.Error("no pool: no error")
	}
}

func TestStore_WithoutDatabaseReportsAndCloses(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/none?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := New(t.Context(), pool, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Report(t.Context(), "k", hint); err == nil || !strings.Contains(err.Error(), `"k" is not shared`) {
		t.Errorf("a report's error is %v", err)
	}
	eventually(t, "Err says that the database is unreachable", func() bool {
		err := s.Err()
		return err != nil && strings.Contains(err.Error(), "the database is unreachable")
	})
	s.Close()
	if _, err := s.Report(t.Context(), "k", hint); !errors.Is(err, errClosed) {
		t.Errorf("after Close, a report's error is %v", err)
	}
}

func TestStore_KeepsTheRules(t *testing.T) {
	srv := startServer(t)
	storetest.Run(t, func(t *testing.T) (a, b holdoff.Store) {
		return join(t, srv.pool(), Options{}), join(t, srv.pool(), Options{})
	})
}

// One server serves those that leave it as it is.
func TestStore(t *testing.T) {
	srv := startServer(t)
	for name, test := range map[string]func(*testing.T, *server){
		"HintOfOneHoldsAll":                        testHint,
		"NamespacesAreApart":                       testNamespaces,
		"PermitsOfManyNeverExceedTheRound":         testPermits,
		"RevIsCommittedOnce":                       testCommitOnce,
		"ReportLeavesMemoryOfALaterVersion":        testMemory,
		"NotifyWithoutChangeIsNoState":             testForged,
		"ChangeWithoutNotifyIsPolled":              testPoll,
		"DamagedRecordIsReplaced":                  testDamage,
		"ExpiredRowsAreSwept":                      testSweep,
		"KeysOfAnyBytesAreShared":                  testKeys,
		"ProcessStoppedInATransactionLosesItsLock": testStopped,
		"RoleThatCreatesNothingUsesTheTable":       testRole,
		"RowClearedByHandRecovers":                 testCleared,
		"HealthyKeyHasNoRow":                       testHealthy,
	} {
		t.Run(name, func(t *testing.T) { test(t, srv) })
	}
}

func testHint(t *testing.T, srv *server) {
	opts := Options{Namespace: t.Name()}
	a, b := join(t, srv.pool(), opts), join(t, srv.pool(), opts)
	told := watch(t, b, "k")
	begun := time.Now()
	reply := report(t, a, "k", hint)
	if s := reply.Snapshot; s.Phase != holdoff.Held || s.Until.Sub(begun) < time.Minute || s.Until.Sub(begun) > time.Minute+5*time.Second {
		t.Errorf("the reply is %+v", s)
	}
	eventually(t, "the other is told", func() bool { return told().Phase == holdoff.Held })
	t.Logf("the other was told %v after the report began", time.Since(begun))
	c := join(t, srv.pool(), opts)
	for name, s := range map[string]holdoff.State{"who was told": told(), "who joins": watch(t, c, "k")()} {
		if d := s.Until.Sub(reply.Snapshot.Until); d < -50*time.Millisecond || d > 5*time.Second || s.Attempts != 1 || s.Status != 429 || !s.ServerDirected {
			t.Errorf("%s has %+v", name, s)
		}
	}
	for key, s := range c.All() {
		if key != "k" || s.Phase != holdoff.Held {
			t.Errorf("All has %q: %+v", key, s)
		}
	}
}

func testNamespaces(t *testing.T, srv *server) {
	a, b := join(t, srv.pool(), Options{Namespace: "one"}), join(t, srv.pool(), Options{Namespace: "two"})
	told := watch(t, b, "k")
	report(t, a, "k", hint)
	if s := report(t, b, "k", holdoff.Report{Replica: "b"}).Snapshot; s.Phase != holdoff.Healthy || told().Phase != holdoff.Healthy {
		t.Errorf("the other namespace has %+v", s)
	}
}

// set sets a time of the register's clock, whose type has no name outside of holdoff.
func set[T ~int64](field *T, at time.Time) { *field = T(at.UnixMilli()) }

// round is the decision that a ramp of so many permits begins.
func round(reply holdoff.Reply, permits int) holdoff.Decision {
	d := holdoff.Decision{
		Rev: reply.Record.Rev, Seen: reply.Record.Totals, SeenHint: reply.Record.HintUntil, SeenAttempts: reply.Record.Attempts,
		Phase: holdoff.Ramping, Generation: reply.Record.Generation + 1, Permits: permits, Attempts: 1, Status: 429,
		NewRound: true, Changed: true,
	}
	set(&d.At, reply.Now)
	set(&d.Until, reply.Now.Add(time.Minute))
	return d
}

// due makes a decision due in a namespace, and returns the reply that says so.
func due(t testing.TB, s *Store) holdoff.Reply {
	t.Helper()
	report(t, s, "k", holdoff.Report{Replica: "a", Status: 429, Hint: time.Millisecond, ServerDirected: true})
	var reply holdoff.Reply
	eventually(t, "a decision is due", func() bool {
		reply = report(t, s, "k", holdoff.Report{Replica: "a", Want: 1})
		return reply.Decide
	})
	return reply
}

func testPermits(t *testing.T, srv *server) {
	opts := Options{Namespace: t.Name()}
	var stores []*Store
	for range 8 {
		stores = append(stores, join(t, srv.pool(), opts))
	}
	if _, err := stores[0].Commit(t.Context(), "k", round(due(t, stores[0]), 100)); err != nil {
		t.Fatal(err)
	}
	var granted atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for i, s := range stores {
		wg.Go(func() {
			for range 30 {
				granted.Add(int64(report(t, s, "k", holdoff.Report{Replica: fmt.Sprint(i), Want: 1}).Snapshot.Permits))
			}
		})
	}
	wg.Wait()
	if granted.Load() != 100 {
		t.Errorf("%d permits were granted, of 100", granted.Load())
	}
	t.Logf("240 reports of 8 processes on one key took %v", time.Since(begun))
}

func testCommitOnce(t *testing.T, srv *server) {
	opts := Options{Namespace: t.Name()}
	a, b := join(t, srv.pool(), opts), join(t, srv.pool(), opts)
	d := round(due(t, a), 10)
	var changed atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			reply, err := []*Store{a, b}[i%2].Commit(t.Context(), "k", d)
			if err != nil {
				t.Error(err)
			}
			if reply.Changed {
				changed.Add(1)
			}
			if reply.Snapshot.Phase != holdoff.Ramping {
				t.Errorf("a commit's reply is %+v", reply.Snapshot)
			}
		})
	}
	wg.Wait()
	if changed.Load() != 1 {
		t.Errorf("%d of 20 commits of one rev started a round", changed.Load())
	}
}

// A process of another version must not lose what it does not read.
func testMemory(t *testing.T, srv *server) {
	s := join(t, srv.pool(), Options{Namespace: t.Name()})
	report(t, s, "k", hint)
	srv.exec(`update holdoff set memory = '{"v": 2, "level": 3, "novel": [1, 2]}' where namespace = $1`, t.Name())
	reply := report(t, s, "k", holdoff.Report{Replica: "a", Hint: 2 * time.Minute, ServerDirected: true})
	if got := srv.text(`select memory::text from holdoff where namespace = $1`, t.Name()); got != `{"v": 2, "level": 3, "novel": [1, 2]}` || reply.Snapshot.Level != 3 {
		t.Errorf("after a report, memory is %s, and the reply %+v", got, reply.Snapshot)
	}
}

func testForged(t *testing.T, srv *server) {
	s := join(t, srv.pool(), Options{Namespace: t.Name()})
	report(t, s, "k", hint)
	var told atomic.Int64
	t.Cleanup(s.Watch("k", func(string, holdoff.State) { told.Add(1) }))
	before := srv.text(`select record::text from holdoff where namespace = $1`, t.Name())
	for _, payload := range []string{"", "healthy", s.replica, strings.Repeat("x", 7000)} {
		srv.exec(`select pg_notify($1, $2) from generate_series(1, 1000)`, s.channel, payload)
	}
	time.Sleep(300 * time.Millisecond)
	if after := srv.text(`select record::text from holdoff where namespace = $1`, t.Name()); after != before || told.Load() != 1 || s.Err() != nil {
		t.Errorf("a watcher was told %d times, want once; the record is %s, and was %s (%v)", told.Load(), after, before, s.Err())
	}
}

func testPoll(t *testing.T, srv *server) {
	opts := Options{Namespace: t.Name(), PollInterval: 100 * time.Millisecond}
	a, b := join(t, srv.pool(), opts), join(t, srv.pool(), opts)
	a.channel = "nobody_listens"
	told := watch(t, b, "k")
	report(t, a, "k", hint)
	eventually(t, "the poll finds the hold", func() bool { return told().Phase == holdoff.Held })
}

func testDamage(t *testing.T, srv *server) {
	for i, damage := range []string{
		`record = '7'`, `record = '{"Phase": "gone"}'`, `record = '{"Phase": 77}'`, `record = '{"Rev": -1}'`, `memory = '"word"'`,
		`record = '[]'`, `record = '{"Until": 9e18, "HintUntil": 9000000000000000000, "Granted": -9000000000000000000}'`, `version = 1::bigint << 62`,
	} {
		s := join(t, srv.pool(), Options{Namespace: fmt.Sprint(t.Name(), i), PollInterval: 100 * time.Millisecond})
		report(t, s, "k", hint)
		srv.exec(`update holdoff set `+damage+` where namespace = $1`, s.opts.Namespace)
		reply := report(t, s, "k", hint)
		readable := i >= 6
		if said := s.Err(); (said != nil) == readable {
			t.Errorf("%s: Err is %v", damage, said)
		}
		if left := time.Until(reply.Snapshot.Until); reply.Snapshot.Phase != holdoff.Held || left > s.opts.MaxHold {
			t.Errorf("%s: the reply is %+v", damage, reply.Snapshot)
		}
		told := watch(t, join(t, srv.pool(), Options{Namespace: s.opts.Namespace}), "k")
		if told().Phase != holdoff.Held {
			t.Errorf("%s: who joins has %+v", damage, told())
		}
	}
}

func testSweep(t *testing.T, srv *server) {
	s := join(t, srv.pool(), Options{Namespace: t.Name()})
	report(t, s, "gone", hint)
	srv.exec(`update holdoff set expires = clock_timestamp() - interval '1 s' where namespace = $1`, t.Name())
	report(t, s, "stays", hint)
	conn, err := pgx.Connect(t.Context(), srv.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := s.sweep(conn); err != nil {
		t.Fatal(err)
	}
	if got := srv.text(`select string_agg(key, ' ') from holdoff where namespace = $1`, t.Name()); got != "stays" {
		t.Errorf("the sweep left %q", got)
	}
}

func testKeys(t *testing.T, srv *server) {
	opts := Options{Namespace: t.Name()}
	a, b := join(t, srv.pool(), opts), join(t, srv.pool(), opts)
	for _, key := range []string{"", "\x00", "\xff\xfe", "';drop/**/table/**/holdoff;--", strings.Repeat("long", 10_000), strings.Repeat("long", 10_000) + "er"} {
		told := watch(t, b, key)
		if told().Phase != holdoff.Healthy {
			t.Errorf("%.20q is held by another key", key)
		}
		r := hint
		r.Replica = key
		report(t, a, key, r)
		eventually(t, "the other is told", func() bool { return told().Phase == holdoff.Held })
	}
}

func testStopped(t *testing.T, srv *server) {
	s := join(t, srv.pool(), Options{Namespace: t.Name(), Timeout: 200 * time.Millisecond})
	stopped, err := pgx.Connect(t.Context(), srv.url())
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Close(context.Background())
	// As transact does, and then nothing.
	for _, sql := range []string{`begin`, `set local idle_in_transaction_session_timeout = 400`, `select pg_advisory_xact_lock(hashtextextended('` + t.Name() + ` k', 0))`} {
		if _, err := stopped.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Report(t.Context(), "k", hint); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another process has the lock, a report's error is %v", err)
	}
	eventually(t, "reports work again", func() bool {
		_, err := s.Report(t.Context(), "k", hint)
		return err == nil
	})
}

func testRole(t *testing.T, srv *server) {
	join(t, srv.pool(), Options{})
	srv.exec(`create role modest login`)
	srv.exec(`grant select, insert, update, delete on holdoff to modest`)
	pool, err := pgxpool.New(t.Context(), strings.Replace(srv.url(), "holdoff@", "modest@", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s := join(t, pool, Options{Namespace: t.Name()})
	report(t, s, "k", hint)
	srv.exec(`revoke update on holdoff from modest`)
	_, err = s.Report(t.Context(), "k", hint)
	if err == nil || !strings.Contains(err.Error(), "permission denied") || s.Err() == nil {
		t.Errorf("without the right to update, the error is %v, and Err %v", err, s.Err())
	}
}

// As docs/STORES.md has it.
func testCleared(t *testing.T, srv *server) {
	s := join(t, srv.pool(), Options{Namespace: t.Name(), PollInterval: 100 * time.Millisecond})
	report(t, s, "k", hint)
	told := watch(t, s, "k")
	if n := srv.text(`select count(*)::text from holdoff where namespace = $1 and (record->>'Phase' <> 'healthy' or record->>'HintUntil' <> '0')`, t.Name()); n != "1" {
		t.Errorf("%s rows are held", n)
	}
	srv.exec(`update holdoff set record = '{}', memory = '{}', version = pg_current_xact_id()::text::bigint where namespace = $1 and key = 'k'`, t.Name())
	eventually(t, "the watcher is told that the key is healthy", func() bool { return told().Phase == holdoff.Healthy })
	if err := s.Err(); err != nil {
		t.Error(err)
	}
}

func testHealthy(t *testing.T, srv *server) {
	s := join(t, srv.pool(), Options{Namespace: t.Name()})
	report(t, s, "k", holdoff.Report{Replica: "a", Well: true, Good: 3})
	if n := srv.text(`select count(*)::text from holdoff where namespace = $1`, t.Name()); n != "0" {
		t.Errorf("a healthy key has %s rows", n)
	}
}

func TestStore_ConnectionsTerminatedJoinsAgain(t *testing.T) {
	srv := startServer(t)
	a, b := join(t, srv.pool(), Options{}), join(t, srv.pool(), Options{})
	told := watch(t, b, "after")
	report(t, a, "before", hint)
	srv.exec(`select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'`)
	eventually(t, "a report works", func() bool {
		_, err := a.Report(t.Context(), "after", hint)
		return err == nil
	})
	eventually(t, "the other is told", func() bool { return told().Phase == holdoff.Held })
	eventually(t, "Err is nil", func() bool { return a.Err() == nil && b.Err() == nil })
	if s := watch(t, b, "before")(); s.Phase != holdoff.Held {
		t.Errorf("the hold from before is %+v", s)
	}
}

func TestStore_ServerRestartedKeepsHolds(t *testing.T) {
	srv := startServer(t)
	a, b := join(t, srv.pool(), Options{}), join(t, srv.pool(), Options{})
	told := watch(t, b, "k")
	report(t, a, "before", hint)
	srv.end(syscall.SIGINT)
	if _, err := a.Report(t.Context(), "k", hint); err == nil {
		t.Error("a report to a server that was stopped has no error")
	}
	eventually(t, "Err says so", func() bool { return a.Err() != nil })
	if !srv.start() {
		t.Fatalf("the server does not start again:\n%s", srv.printed())
	}
	eventually(t, "a report works", func() bool {
		_, err := a.Report(t.Context(), "k", hint)
		return err == nil
	})
	eventually(t, "the other is told", func() bool { return told().Phase == holdoff.Held })
	if s := watch(t, join(t, srv.pool(), Options{}), "before")(); s.Phase != holdoff.Held {
		t.Errorf("who joins after the restart has %+v", s)
	}
}

// An unlogged table is empty after a crash.
func TestStore_ServerCrashedWatchersLearnOfTheLoss(t *testing.T) {
	srv := startServer(t)
	s := join(t, srv.pool(), Options{})
	report(t, s, "k", hint)
	told := watch(t, s, "k")
	srv.end(syscall.SIGQUIT)
	if !srv.start() {
		t.Fatalf("the server does not start again:\n%s", srv.printed())
	}
	eventually(t, "the watcher learns that the hold was lost", func() bool { return told().Lost })
	report(t, s, "k", hint)
	if told().Phase != holdoff.Held {
		t.Errorf("after it was reported again: %+v", told())
	}
}
