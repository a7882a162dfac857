package holdoff_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/redis/go-redis/v9"
)

const clearedHost = "https://api.example.com"

// clearedFleet is a fleet with a Redis of its own, whose server refuses for a while.
type clearedFleet struct {
	redis    *redis.Client
	proxy    *redistest.Proxy // between Redis and the last replica
	replicas []*holdoff.Transport
	refuses  atomic.Bool
	sends    atomic.Int64
}

func newClearedFleet(t *testing.T, srv *redistest.Server, namespace string, route func(*http.Request) string) *clearedFleet {
	t.Helper()
	f := &clearedFleet{redis: srv.Client(), proxy: redistest.StartProxy(t, srv.Addr)}
	base := baseFunc(func(*http.Request) (*http.Response, error) {
		f.sends.Add(1)
		if f.refuses.Load() {
			return answer(429, "Retry-After: 100"), nil
		}
		return answer(200), nil
	})
	for i := range 4 {
		client := srv.Client()
		if i == 3 {
			client = redis.NewClient(&redis.Options{Addr: f.proxy.Addr})
			t.Cleanup(func() { client.Close() })
		}
		tr := &holdoff.Transport{Base: base, Store: redisStore(t, client, holdoff.RedisOptions{Namespace: namespace}), MaxWait: -1, MaxAttempts: 1, Route: route}
		fetch(t, tr, clearedHost+"/v1/search")
		f.replicas = append(f.replicas, tr)
	}
	return f
}

// held reports how many replicas hold something of the host.
func (f *clearedFleet) held() (n int) {
	for _, tr := range f.replicas {
		for s := range tr.Keys() {
			if s.Phase == holdoff.Held {
				n++
				break
			}
		}
	}
	return n
}

// hold makes the server refuse requests of so many replicas, until all know.
func (f *clearedFleet) hold(t *testing.T, witnesses int) {
	t.Helper()
	f.refuses.Store(true)
	for _, tr := range f.replicas[:witnesses] {
		fetch(t, tr, clearedHost+"/v1/search")
	}
	eventually(t, "all replicas hold", func() bool { return f.held() == len(f.replicas) })
	f.refuses.Store(false)
}

// wantFree checks that all replicas let go, and that none of them holds again.
func (f *clearedFleet) wantFree(t *testing.T, since time.Time) {
	t.Helper()
	eventually(t, "no replica holds", func() bool { return f.held() == 0 })
	t.Logf("all replicas let go within %v", time.Since(since).Round(time.Millisecond))
	time.Sleep(1200 * time.Millisecond) // for what a replica may have had in mind to report, and a poll
	if n := f.held(); n > 0 {
		t.Errorf("%d replicas hold again", n)
	}
	for i, tr := range f.replicas {
		if status, err := fetch(t, tr, clearedHost+"/v1/search"); status != 200 {
			t.Errorf("replica %d gets %d, %v", i, status, err)
		}
	}
}

// What operators try by hand, before or instead of a clear: it ends cleared all the same.
func TestClear_AfterWhatOperatorsTryByHandReleasesTheFleet(t *testing.T) {
	t.Parallel()
	record := func(namespace string) string { return recordName(namespace, clearedHost) }
	del := func(t *testing.T, c *redis.Client, ns string) { c.Del(t.Context(), record(ns)) }
	hset := func(t *testing.T, c *redis.Client, ns string) {
		c.HSet(t.Context(), record(ns), "phase", "healthy", "attempts", 0, "until", 0)
	}
	flush := func(t *testing.T, c *redis.Client, _ string) { c.FlushDB(t.Context()) }
	pause := func(d time.Duration) func(*testing.T, *redis.Client, string) {
		return func(*testing.T, *redis.Client, string) { time.Sleep(d) }
	}
	for name, steps := range map[string][]func(*testing.T, *redis.Client, string){
		"nothing":                          nil,
		"DEL":                              {del},
		"DEL, and a poll":                  {del, pause(1200 * time.Millisecond)},
		"DEL, then HSET":                   {del, hset},
		"HSET":                             {hset},
		"FLUSHDB":                          {flush},
		"FLUSHDB, and half a second":       {flush, pause(500 * time.Millisecond)},
		"FLUSHDB, and a poll of everybody": {flush, pause(1200 * time.Millisecond)},
	} {
		for _, everything := range []bool{false, true} {
			if everything {
				name += ", and ClearAll"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newClearedFleet(t, redistest.Start(t), "default", oneScope)
				f.hold(t, 1)
				for _, step := range steps {
					step(t, f.redis, "default")
				}
				operator := redisStore(t, f.redis, holdoff.RedisOptions{Timeout: 10 * time.Second})
				clear := operator.ClearAll
				if !everything {
					clear = func(ctx context.Context) error { return operator.Clear(ctx, clearedHost) }
				}
				begin := time.Now()
				if err := clear(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.wantFree(t, begin)
			})
		}
	}
}

// A clear of a key clears its scopes, and a clear of all clears every key.
func TestClear_OfAKeyReleasesItsScopes(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]bool{"": false, ", whose records are lost": true} {
		for _, all := range []bool{false, true} {
			t.Run(map[bool]string{false: "Clear", true: "ClearAll"}[all]+name, func(t *testing.T) {
				t.Parallel()
				srv := redistest.Start(t)
				f := newClearedFleet(t, srv, "default", nil)
				f.hold(t, 2) // one replica that is refused may be refused by its address
				operator := redisStore(t, f.redis, holdoff.RedisOptions{Timeout: 10 * time.Second})
				if list, err := operator.List(t.Context()); err != nil || len(list) == 0 || list[0].Scope == (holdoff.Scope{}) {
					t.Fatalf("got %v, %v; want scopes that are held", list, err)
				}
				if lose {
					f.redis.FlushDB(t.Context())
				}
				begin := time.Now()
				clear := operator.ClearAll
				if !all {
					clear = func(ctx context.Context) error { return operator.Clear(ctx, clearedHost) }
				}
				if err := clear(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.wantFree(t, begin)
				if list, err := operator.List(t.Context()); err != nil || len(list) > 0 {
					t.Errorf("got %v, %v after the clear; want nothing", list, err)
				}
			})
		}
	}
}

// A replica that Redis does not reach when an operator clears learns of it when it is back,
// also where the cleared record has expired by then, and before it reports what it held.
func TestClear_ReplicaThatWasAwayDoesNotBringTheHoldBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		route func(*http.Request) string
		alone bool // the replica has met the refusal while it was away, and no other replica knows of it
		all   bool
	}{
		"a hold of the fleet":                   {route: oneScope},
		"a hold of the fleet, and ClearAll":     {route: oneScope, all: true},
		"a hold of a scope":                     {},
		"a hold of its own":                     {route: oneScope, alone: true},
		"a hold of its own, and ClearAll":       {route: oneScope, alone: true, all: true},
		"a hold of a scope of its own":          {alone: true},
		"a hold of a scope of its, and a fleet": {all: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newClearedFleet(t, redistest.Start(t), "default", c.route)
			away := f.replicas[3]
			if !c.alone {
				f.hold(t, 2)
			}
			f.proxy.BlackHole(true)
			eventually(t, "the replica knows that Redis is away", func() bool {
				fetch(t, away, "https://other.example/")
				return away.Store.(*holdoff.RedisStore).Err() != nil
			})
			if c.alone {
				f.refuses.Store(true)
				fetch(t, away, clearedHost+"/v1/search")
				f.refuses.Store(false)
				eventually(t, "the replica holds", func() bool { return f.held() == 1 })
			}
			operator := redisStore(t, f.redis, holdoff.RedisOptions{Timeout: 10 * time.Second})
			clear := operator.ClearAll
			if !c.all {
				clear = func(ctx context.Context) error { return operator.Clear(ctx, clearedHost) }
			}
			if err := clear(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "only the replica that is away holds", func() bool { return f.held() == 1 })
			for _, id := range f.redis.Keys(t.Context(), redisName("default", "*")).Val() { // as when they have expired
				if id != redisName("default", "meta") {
					f.redis.Del(t.Context(), id)
				}
			}
			back := time.Now()
			f.proxy.Cut() // with what is in it
			f.proxy.BlackHole(false)
			f.wantFree(t, back)
		})
	}
}

// Where there is only redis-cli, and the record is gone: as the documents say.
func TestClear_NumberSetByHandReleasesWhatRedisDoesNotHave(t *testing.T) {
	t.Parallel()
	f := newClearedFleet(t, redistest.Start(t), "default", oneScope)
	f.hold(t, 1)
	f.redis.Del(t.Context(), recordName("default", clearedHost))
	meta := redisName("default", "meta")
	f.redis.HSet(t.Context(), meta, "cleared", time.Now().UnixMilli())
	f.redis.HIncrBy(t.Context(), meta, "seq", 1)
	f.redis.Publish(t.Context(), redisName("default", "changes"), "released")
	f.wantFree(t, time.Now())
}

// What a replica that is away meets after a clear is no part of it.
func TestClear_RefusalSinceThenOfReplicaThatWasAwayHoldsTheFleet(t *testing.T) {
	t.Parallel()
	f := newClearedFleet(t, redistest.Start(t), "default", oneScope)
	away := f.replicas[3]
	f.proxy.BlackHole(true)
	eventually(t, "the replica knows that Redis is away", func() bool {
		fetch(t, away, "https://other.example/")
		return away.Store.(*holdoff.RedisStore).Err() != nil
	})
	if err := redisStore(t, f.redis, holdoff.RedisOptions{Timeout: 10 * time.Second}).Clear(t.Context(), clearedHost); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // more than the clocks of a replica and of Redis are taken to differ by
	f.refuses.Store(true)
	fetch(t, away, clearedHost+"/v1/search")
	f.proxy.Cut() // with what is in it
	f.proxy.BlackHole(false)
	eventually(t, "all replicas hold", func() bool { return f.held() == len(f.replicas) })
}

// A server that still refuses is held again, by the whole fleet.
func TestClear_HostThatStillRefusesIsHeldAgain(t *testing.T) {
	t.Parallel()
	f := newClearedFleet(t, redistest.Start(t), "default", oneScope)
	f.hold(t, 1)
	operator := redisStore(t, f.redis, holdoff.RedisOptions{Timeout: 10 * time.Second})
	for range 3 {
		if err := operator.Clear(t.Context(), clearedHost); err != nil {
			t.Fatal(err)
		}
		eventually(t, "no replica holds", func() bool { return f.held() == 0 })
		f.hold(t, 1)
	}
	time.Sleep(1200 * time.Millisecond) // a poll, and what else may bring an old clear
	if n := f.held(); n != len(f.replicas) {
		t.Errorf("%d replicas hold, want all", n)
	}
}

// A clear that could not be published is found by the next heartbeat, or by a poll.
func TestClear_ThatWasNotPublishedIsFound(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	f := newClearedFleet(t, srv, "default", oneScope)
	f.hold(t, 1)
	// Messages that no replica gets: the operator's user may not publish.
	f.redis.Do(t.Context(), "ACL", "SETUSER", "mute", "on", ">pw", "~*", "resetchannels", "+@all", "-publish")
	mute := redis.NewClient(&redis.Options{Addr: srv.Addr, Username: "mute", Password: "pw"})
	defer mute.Close()
	begin := time.Now()
	if err := redisStore(t, mute, holdoff.RedisOptions{Timeout: 10 * time.Second}).Clear(t.Context(), clearedHost); err != nil {
		t.Fatal(err)
	}
	f.wantFree(t, begin)
}

func TestClear_EmptyKeyIsAnError(t *testing.T) {
	t.Parallel()
	operator := redisStore(t, redistest.Start(t).Client(), holdoff.RedisOptions{})
	if err := operator.Clear(t.Context(), ""); err == nil {
		t.Error("got no error: a script whose variable is empty would release all keys")
	}
}
