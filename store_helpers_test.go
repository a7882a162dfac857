package holdoff_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/admission"
	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/redisrun"
)

// recordName is the name of a key's record in Redis, as the documents give it.
func recordName(namespace, key string) string {
	sum := sha256.Sum256([]byte(key))
	return redisName(namespace, hex.EncodeToString(sum[:16]))
}

// redisName is the name of anything that the store keeps in Redis.
func redisName(namespace, part string) string { return "holdoff:{" + namespace + "}:v3:" + part }

// eventually waits until what holds, for as long as a slow machine may need.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 15 seconds: %s", what)
		}
	}
}

// tell reports, and decides where that is due: which must work.
func tell(t testing.TB, s holdoff.Store, key string, r holdoff.Report) holdoff.State {
	t.Helper()
	if r.Lease == 0 {
		r.Lease = 10 * time.Second
	}
	r.Version = hold.Version
	var reply holdoff.Reply
	var err error
	for range 20 { // a slow machine may take longer than the store's timeout
		reply, err = admission.Exchange(context.Background(), s, key, r)
		if !errors.Is(err, redisrun.ErrLate) && !errors.Is(err, context.DeadlineExceeded) {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("exchange about %q: %v", key, err)
	}
	return reply.Snapshot
}

// follow watches a key, and returns what is known of it.
func follow(t testing.TB, s holdoff.Store, key string) func() holdoff.State {
	var mu sync.Mutex
	var last holdoff.State
	stop := s.Watch(key, func(scope string, state holdoff.State) {
		mu.Lock()
		defer mu.Unlock()
		if scope == "" {
			last = state
		}
	})
	t.Cleanup(stop)
	return func() holdoff.State {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

// heldFor is the report of a hint.
func heldFor(d time.Duration) holdoff.Report {
	return holdoff.Report{Hint: d, ServerDirected: true, Status: 429}
}

// redisStore makes a store that is closed at the end of the test.
func redisStore(t testing.TB, client holdoff.RedisClient, opts holdoff.RedisOptions) *holdoff.RedisStore {
	t.Helper()
	s, err := holdoff.NewRedisStore(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// sleepPast sleeps until t is over.
func sleepPast(t time.Time) { time.Sleep(time.Until(t) + 5*time.Millisecond) }

// narrowClient has the methods of a RedisClient, and no other.
type narrowClient struct{ c *redis.Client }

func (n narrowClient) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return n.c.Eval(ctx, script, keys, args...)
}

func (n narrowClient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return n.c.EvalSha(ctx, sha, keys, args...)
}

func (n narrowClient) EvalRO(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return n.c.EvalRO(ctx, script, keys, args...)
}

func (n narrowClient) EvalShaRO(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return n.c.EvalShaRO(ctx, sha, keys, args...)
}

func (n narrowClient) ScriptExists(ctx context.Context, hashes ...string) *redis.BoolSliceCmd {
	return n.c.ScriptExists(ctx, hashes...)
}

func (n narrowClient) ScriptLoad(ctx context.Context, script string) *redis.StringCmd {
	return n.c.ScriptLoad(ctx, script)
}

func (n narrowClient) Subscribe(ctx context.Context, channels ...string) *redis.PubSub {
	return n.c.Subscribe(ctx, channels...)
}
