package redisstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// opened returns a store that runs nothing in the background.
func opened(t testing.TB, client Client, opts Options) *Store {
	t.Helper()
	s, err := Open(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func list(t testing.TB, s *Store) []string {
	t.Helper()
	records, _, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(records))
}

func TestList_ReadsThroughTheIndexAndChangesNothing(t *testing.T) {
	onRedisAndCluster(t, func(t *testing.T, client func() redis.UniversalClient) {
		rdb := client()
		looks := opened(t, client(), Options{})
		if got := list(t, looks); len(got) > 0 {
			t.Errorf("got %q, want nothing", got)
		}
		servers(t, rdb, func(one *redis.Client) {
			if n := one.DBSize(t.Context()).Val(); n > 0 {
				t.Errorf("a look has made %d keys", n)
			}
		})
		s := opened(t, client(), Options{})
		var want []string
		for i := range 2*pageSize + 5 {
			key := fmt.Sprintf("https://%03d.example", i)
			tell(t, s, key, hold.Report{Hint: time.Minute, ServerDirected: true, Status: 429})
			want = append(want, key)
		}
		if got := list(t, looks); !slices.Equal(got, want) {
			t.Errorf("got %d keys, want the %d that are held", len(got), len(want))
		}
	})
}

func TestClear_MakesRecordsThatReplicasDecideOnAgain(t *testing.T) {
	onRedisAndCluster(t, func(t *testing.T, client func() redis.UniversalClient) {
		s := opened(t, client(), Options{})
		hint := hold.Report{Hint: time.Minute, ServerDirected: true, Status: 429}
		for _, key := range []string{"a", "a /v1", "a /v1 #01ab", "b"} {
			tell(t, s, key, hint)
		}
		before := tell(t, s, "a /v1", hint)
		released, err := s.Clear(t.Context(), "a /v1")
		if err != nil || !slices.Equal(released, []string{"a /v1 #01ab", "a /v1"}) {
			t.Errorf("released %q, %v; want the scope and the one inside", released, err)
		}
		if got := list(t, s); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%q are left, want a and b", got)
		}
		s.readAll()
		if again := tell(t, s, "a /v1", hint); again.Phase != hold.Held || again.Generation <= before.Generation || again.Attempts != 1 {
			t.Errorf("got %+v after the next refusal, want a hold of a later generation", again)
		}
		if _, err := s.Clear(t.Context(), everything); err != nil {
			t.Error(err)
		}
		if got := list(t, s); len(got) > 0 {
			t.Errorf("%q are left, want nothing", got)
		}
	})
}

// A report of what was met before a clear changes nothing, in whichever record, and however
// late it comes.
func TestClear_ReportOfBeforeIsNotTakenIn(t *testing.T) {
	s := opened(t, redistest.Start(t).Client(), Options{Timeout: 50 * time.Millisecond})
	hint := hold.Report{Hint: time.Minute, ServerDirected: true, Status: 429}
	tell(t, s, "k", hint)
	for _, key := range []string{"k", "k /v1", "other"} {
		late := s.reportArgs(idOf(key), key, hint)
		if _, err := s.Clear(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		s.client.(*redis.Client).Del(t.Context(), s.name(idOf("k"))) // as when it has expired
		reply, err := s.run(reportScript, s.keys(idOf(key)), late...)
		if err != nil || len(reply) != 2 || reply[0] != "behind" {
			t.Errorf("got %v, %v; want that the replica is behind", reply, err)
		}
		if _, err := s.Report(t.Context(), key, hint); err != hold.Behind {
			t.Errorf("got %v, want that the replica is behind until it has read", err)
		}
		if got := list(t, s); len(got) > 0 {
			t.Errorf("%q are held", got)
		}
		before := time.Now()
		s.readAll()
		hint.At = before
		if _, err := s.Report(t.Context(), key, hint); err != hold.Behind {
			t.Errorf("got %v for what was taken down before the clear was known", err)
		}
		hint.At = time.Time{}
	}
	if state := tell(t, s, "k", hint); state.Phase != hold.Held {
		t.Errorf("got %+v of a replica that knows of the clear, want a hold", state)
	}
}

// All that a clear makes has a time to live, whatever Redis had before.
func TestClear_WhatItMakesExpires(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := opened(t, rdb, Options{})
	for _, damage := range []func(){
		func() {},
		func() { rdb.Set(context.Background(), s.name(idOf("k")), "no hash", 0) },
		func() { rdb.Set(context.Background(), s.name("index"), "no set", 0) },
		func() { rdb.Set(context.Background(), s.name("meta"), "no hash", 0) },
		func() { rdb.HSet(context.Background(), s.name("meta"), "cleared", "no number") },
		func() { rdb.HSet(context.Background(), s.name("meta"), "cleared", "-1") },
		func() { rdb.HSet(context.Background(), s.name("meta"), "cleared", "1e300") },
		func() { rdb.HSet(context.Background(), s.name("meta"), "cleared", "nan") },
	} {
		rdb.FlushAll(t.Context())
		damage()
		if _, err := s.Clear(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		names := rdb.Keys(t.Context(), "*").Val()
		if len(names) != 3 {
			t.Errorf("got %q, want a record, the meta data and the changes", names)
		}
		for _, name := range names {
			if ttl := rdb.PTTL(t.Context(), name).Val(); ttl <= 0 || ttl > 24*time.Hour {
				t.Errorf("%s lives for %v", name, ttl)
			}
		}
		s.readAll()
		if state := tell(t, s, "k", hold.Report{Hint: time.Minute, ServerDirected: true}); state.Phase != hold.Held {
			t.Errorf("got %+v, want a hold", state)
		}
	}
}

// The number of a clear that was never made, whatever wrote it, keeps reports out until the next
// reading only.
func TestClear_NumberThatLiesAheadKeepsReportsOutUntilItIsRead(t *testing.T) {
	srv := redistest.Start(t)
	s := redisStore(t, srv.Client(), Options{})
	tell(t, s, "k", hold.Report{Failures: 1, Status: 500})
	srv.Client().HSet(t.Context(), s.name("meta"), "cleared", "4000000000000000")
	eventually(t, "a report is taken in", func() bool {
		reply, err := s.Report(t.Context(), "k", hold.Report{Hint: time.Minute, ServerDirected: true})
		return err == nil && reply.Snapshot.Phase == hold.Held
	})
	if _, err := s.Clear(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the clear is known", func() bool { return len(maps.Collect(s.All())) == 0 })
}
