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

// A report that was under way when the record was cleared does not hold it again.
func TestClear_ReportUnderWayIsIgnored(t *testing.T) {
	s := opened(t, redistest.Start(t).Client(), Options{})
	hint := hold.Report{Hint: time.Minute, ServerDirected: true, Status: 429}
	tell(t, s, "k", hint)
	late := s.reportArgs(idOf("k"), "k", hint)
	time.Sleep(10 * time.Millisecond)
	if _, err := s.Clear(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.run(reportScript, s.keys(idOf("k")), late...); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s); len(got) > 0 {
		t.Errorf("%q are held", got)
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
		func() {
			rdb.HSet(context.Background(), s.name(idOf("k")), "v", "3", "cleared", "99999999999999999999 x")
		},
		func() {
			rdb.HSet(context.Background(), s.name(idOf("k")), "v", "3", "cleared", "99999999999999999999 99999999999999999999")
		},
	} {
		rdb.FlushAll(t.Context())
		damage()
		if _, err := s.Clear(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		names := rdb.Keys(t.Context(), "*").Val()
		if len(names) != 4 {
			t.Errorf("got %q, want a record, the index, the meta data and the changes", names)
		}
		for _, name := range names {
			if ttl := rdb.PTTL(t.Context(), name).Val(); ttl <= 0 || ttl > 24*time.Hour {
				t.Errorf("%s lives for %v", name, ttl)
			}
		}
		time.Sleep(20 * time.Millisecond) // what was sent before the clear is ignored
		if state := tell(t, s, "k", hold.Report{Hint: time.Minute, ServerDirected: true}); state.Phase != hold.Held {
			t.Errorf("got %+v, want a hold", state)
		}
	}
}

// A time of a clear that lies ahead, whoever wrote it, does not keep reports out.
func TestClear_TimeThatLiesAheadDoesNotKeepReportsOut(t *testing.T) {
	srv := redistest.Start(t)
	s := opened(t, srv.Client(), Options{})
	tell(t, s, "k", hold.Report{Failures: 1, Status: 500})
	srv.Client().HSet(t.Context(), s.name(idOf("k")), "cleared", "1 4000000000000")
	if state := tell(t, s, "k", hold.Report{Hint: time.Minute, ServerDirected: true}); state.Phase != hold.Held {
		t.Errorf("got %+v, want a hold", state)
	}
}
