package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

func TestRedisThatComesLaterIsJoined(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.Kill()
	begun := time.Now()
	a, b := redisStore(t, srv.Client(), holdoff.RedisOptions{}), redisStore(t, srv.Client(), holdoff.RedisOptions{})
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("without Redis it takes %v to make two stores", d)
	}
	client := &http.Client{Transport: &holdoff.Transport{Base: script(200), Store: a}}
	if resp, err := client.Get("http://a.example.com"); err != nil || resp.StatusCode != 200 {
		t.Errorf("a request without Redis: %v, %v", resp, err)
	}
	eventually(t, "that Redis is away is known", func() bool { return a.Err() != nil && b.Err() != nil })
	srv.Restart()
	eventually(t, "both stores are back", func() bool { return a.Err() == nil && b.Err() == nil })
	state := follow(t, b, "k")
	tell(t, a, "k", heldFor(time.Minute))
	eventually(t, "holds are shared", func() bool { return state().Phase == holdoff.Held })
}

// keyIs reports the phase of the only key that a Transport knows something of.
func keyIs(tr *holdoff.Transport) holdoff.KeyState {
	for s := range tr.Keys() {
		return s
	}
	return holdoff.KeyState{}
}

// fleetOf makes Transports with a store each, which know host already.
func fleetOf(t *testing.T, srv *redistest.Server, n int, base http.RoundTripper, host string) []*holdoff.Transport {
	t.Helper()
	var fleet []*holdoff.Transport
	for range n {
		tr := &holdoff.Transport{Base: base, Store: redisStore(t, srv.Client(), holdoff.RedisOptions{PollInterval: 100 * time.Millisecond}), MaxWait: -1, Route: oneScope}
		fetch(t, tr, host)
		fleet = append(fleet, tr)
	}
	return fleet
}

// fetch sends a request that may fail.
func fetch(t testing.TB, tr *holdoff.Transport, url string) (int, error) {
	resp, err := tr.RoundTrip(newRequest(t, "GET", url, ""))
	if err != nil {
		return 0, err
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, nil
}

func TestOperatorMayClearAHold(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	var bad atomic.Bool
	base := baseFunc(func(*http.Request) (*http.Response, error) {
		if bad.Load() {
			return answer(429, "Retry-After: 100"), nil
		}
		return answer(200), nil
	})
	const host = "https://api.example.com"
	fleet := fleetOf(t, srv, 4, base, host)
	bad.Store(true)
	fetch(t, fleet[0], host)
	for _, tr := range fleet {
		eventually(t, "all are held", func() bool { return keyIs(tr).Phase == holdoff.Held && keyIs(tr).Shared })
	}
	bad.Store(false)

	record := recordName("default", host)
	rdb.HSet(t.Context(), record, "phase", "healthy", "attempts", 0, "round", "", "counts", "")
	rdb.HIncrBy(t.Context(), redisName("default", "meta"), "seq", 1)
	rdb.Publish(t.Context(), redisName("default", "changes"), "released")
	for i, tr := range fleet {
		eventually(t, fmt.Sprintf("replica %d is free: %+v", i, keyIs(tr)), func() bool { return keyIs(tr).Phase == holdoff.Healthy })
		if status, err := fetch(t, tr, host); status != 200 {
			t.Errorf("replica %d gets %d, %v", i, status, err)
		}
	}
	if phase := rdb.HGet(t.Context(), record, "phase").Val(); phase != "healthy" {
		t.Errorf("a replica has asserted the hold again: it is %s", phase)
	}
}

func TestHoldThatRedisLostIsAssertedAgain(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	var sends atomic.Int64
	base := baseFunc(func(*http.Request) (*http.Response, error) {
		if sends.Add(1) > 4 {
			return answer(429, "Retry-After: 60"), nil
		}
		return answer(200), nil
	})
	const host = "https://api.example.com"
	fleet := fleetOf(t, srv, 4, base, host)
	fetch(t, fleet[0], host)
	for _, tr := range fleet {
		eventually(t, "all are held", func() bool { return keyIs(tr).Phase == holdoff.Held && keyIs(tr).Shared })
	}
	until := keyIs(fleet[0]).Until
	record := recordName("default", host)
	flush := func() { rdb.FlushAll(t.Context()) }
	// Where Redis evicts what it likes, the record and the index may go, and the
	// sequence stay.
	evict := func() {
		rdb.Del(t.Context(), record, redisName("default", "index"))
		rdb.HIncrBy(t.Context(), redisName("default", "meta"), "seq", 1) // another client's change
	}
	for _, lose := range []func(){flush, flush, evict, evict} {
		lose()
		free := false
		eventually(t, "Redis knows of the hold again", func() bool {
			for _, tr := range fleet {
				free = free || keyIs(tr).Phase != holdoff.Held
			}
			return rdb.Exists(t.Context(), record).Val() == 1
		})
		if free {
			t.Error("a replica was free meanwhile")
		}
		for i, tr := range fleet {
			eventually(t, fmt.Sprintf("replica %d shares it again", i), func() bool { return keyIs(tr).Phase == holdoff.Held && keyIs(tr).Shared })
			if d := keyIs(tr).Until.Sub(until); d < -50*time.Millisecond || d > time.Second {
				t.Errorf("replica %d's hold has changed by %v", i, d)
			}
		}
	}
	fetch(t, fleet[1], host)
	if n := sends.Load(); n != 5 {
		t.Errorf("%d sends, want 4 before the hold and the one that brought it", n)
	}
	if n := rdb.HGet(t.Context(), record, "attempts").Val(); n > "3" {
		t.Errorf("%s replicas asserted it, want one or two", n)
	}
}

// Who has only heard of a hold, and never sent to that host, obeys it to its end
// though Redis loses it, or no longer has it in a form that can be read.
func TestHoldThatWasOnlyHeardOfIsKept(t *testing.T) {
	t.Parallel()
	const host = "https://api.example.com"
	for name, harm := range map[string]func(ctx context.Context, rdb *redis.Client, record string) error{
		"flushed": func(ctx context.Context, rdb *redis.Client, _ string) error { return rdb.FlushAll(ctx).Err() },
		"evicted": func(ctx context.Context, rdb *redis.Client, record string) error {
			rdb.HIncrBy(ctx, redisName("default", "meta"), "seq", 1) // another client's change
			return rdb.Del(ctx, record).Err()
		},
		"of the future": func(ctx context.Context, rdb *redis.Client, record string) error {
			return rdb.HSet(ctx, record, "v", "4").Err()
		},
		"a string": func(ctx context.Context, rdb *redis.Client, record string) error {
			return rdb.Set(ctx, record, "?", time.Minute).Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := redistest.Start(t)
			rdb := srv.Client()
			told, heard := redisStore(t, rdb, holdoff.RedisOptions{}), redisStore(t, rdb, holdoff.RedisOptions{PollInterval: 100 * time.Millisecond})
			tell(t, told, host, heldFor(time.Minute))
			tr := &holdoff.Transport{Base: script(with(200)), Store: heard, MaxWait: -1}
			eventually(t, "the hold is heard of", func() bool { return keyIs(tr).Phase == holdoff.Held })
			if err := harm(t.Context(), rdb, recordName("default", host)); err != nil {
				t.Fatal(err)
			}
			for range 10 { // while the store polls, and reads everything again
				time.Sleep(50 * time.Millisecond)
				if k := keyIs(tr); k.Phase != holdoff.Held {
					t.Fatalf("the key is %v after Redis lost it", k.Phase)
				}
			}
			if status, err := fetch(t, tr, host); !errors.As(err, new(*holdoff.HeldError)) {
				t.Errorf("a request got %d, %v; want to be told of the hold", status, err)
			}
			if name == "flushed" || name == "evicted" {
				record := recordName("default", host)
				eventually(t, "who has a request for it tells it again", func() bool { return rdb.Exists(t.Context(), record).Val() == 1 })
			}
		})
	}
}

// Redis loses a hold before the replica that told it has heard it from anybody.
func TestHoldThatIsLostAtOnceIsAssertedAgain(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	proxy := redistest.StartProxy(t, srv.Addr)
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { client.Close() })
	store := redisStore(t, client, holdoff.RedisOptions{PollInterval: 3 * time.Second})
	proxy.Set(redistest.Faults{LoseReplies: true, OnlySubscribed: true})
	const host = "https://api.example.com"
	tr := &holdoff.Transport{Base: script(with(429, "Retry-After: 240")), Store: store, Route: oneScope}
	fetch(t, tr, host)
	rdb := srv.Client()
	record := recordName("default", host)
	eventually(t, "Redis knows of the hold", func() bool { return rdb.Exists(t.Context(), record).Val() == 1 })
	rdb.FlushAll(t.Context())
	eventually(t, "Redis knows of the hold again", func() bool { return rdb.Exists(t.Context(), record).Val() == 1 })
}

// A process that is told to slow down, and ends, has told the others.
func TestCloseTellsWhatWasLearnt(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	for range 5 {
		srv.Client().FlushAll(t.Context())
		s, err := holdoff.NewRedisStore(srv.Client(), holdoff.RedisOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tr := &holdoff.Transport{Base: script(with(429, "Retry-After: 8")), Store: s, MaxAttempts: 1, Route: oneScope}
		wants(t, tr, "http://h.example/", 429)
		s.Close()
		if got := srv.Client().HGet(t.Context(), recordName("default", "http://h.example"), "phase").Val(); got != "held" {
			t.Fatalf("got phase %q in Redis after Close, want held", got)
		}
	}
}

// Many keys of many Transports at a time are no reason to leave Redis alone.
func TestManyKeysAtATimeAreShared(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	srv := redistest.Start(t)
	s, err := holdoff.NewRedisStore(srv.Client(), holdoff.RedisOptions{Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var wg sync.WaitGroup
	for i := range 4 {
		tr := &holdoff.Transport{Base: script(with(429, "Retry-After: 30")), Store: s, MaxAttempts: 1}
		for k := range 200 {
			wg.Go(func() { get(t, tr, fmt.Sprintf("http://h%d-%d.example/", i, k)) })
		}
	}
	wg.Wait()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		n := srv.Client().ZCard(t.Context(), redisName("default", "index")).Val()
		if n == 800 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %d keys in Redis, want 800", n)
		}
	}
	if got := logs.All(); len(got) > 0 {
		t.Errorf("got %v, want no warning", got)
	}
}
