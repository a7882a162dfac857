package holdoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/hostkey"
	"github.com/go-holdoff/holdoff/internal/redisrun"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// eventually waits until what holds, for as long as a slow machine may need.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 15 seconds: %s", what)
		}
	}
}

// tell exchanges news, which must work.
func tell(t testing.TB, s Store, key string, n News) State {
	t.Helper()
	if n.Lease == 0 {
		n.Lease = 10 * time.Second
	}
	var state State
	var err error
	for range 20 { // a slow machine may take longer than the store's timeout
		state, err = s.Exchange(context.Background(), key, n)
		if !errors.Is(err, redisrun.ErrLate) && !errors.Is(err, errAway) && !errors.Is(err, context.DeadlineExceeded) {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("Exchange about %q: %v", key, err)
	}
	return state
}

// follow watches a key, and returns what is known of it.
func follow(t testing.TB, s Store, key string) func() State {
	var mu sync.Mutex
	var last State
	stop := s.Watch(key, func(state State) {
		mu.Lock()
		defer mu.Unlock()
		last = state
	})
	t.Cleanup(stop)
	return func() State {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

// heldFor is the news of a hint.
func heldFor(d time.Duration) News { return News{Hint: d, Word: true, Status: 429} }

// narrowClient has no more methods than a RedisStore needs.
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

func TestRedisOptionsAreValidated(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	var noClient *redis.Client
	var noCluster *redis.ClusterClient
	for name, c := range map[string]struct {
		client RedisClient
		opts   RedisOptions
		want   []string // what the error says
	}{
		"no client":             {nil, RedisOptions{}, []string{"client is nil"}},
		"a typed nil":           {noClient, RedisOptions{}, []string{"client is nil"}},
		"a typed nil Cluster":   {noCluster, RedisOptions{}, []string{"client is nil"}},
		"a brace":               {client, RedisOptions{Namespace: "a{b"}, []string{"RedisOptions.Namespace", "braces"}},
		"the other brace":       {client, RedisOptions{Prefix: "a}b"}, []string{"RedisOptions.Prefix", "braces"}},
		"white space":           {client, RedisOptions{Namespace: "a b"}, []string{"RedisOptions.Namespace", "white space"}},
		"a line break":          {client, RedisOptions{Prefix: "a\r\nb"}, []string{"RedisOptions.Prefix", "control"}},
		"NUL":                   {client, RedisOptions{Namespace: "a\x00"}, []string{"RedisOptions.Namespace", "control"}},
		"invalid UTF-8":         {client, RedisOptions{Namespace: "a\xff"}, []string{"RedisOptions.Namespace"}},
		"a long namespace":      {client, RedisOptions{Namespace: strings.Repeat("n", 129)}, []string{"RedisOptions.Namespace", "129", "128"}},
		"a long prefix":         {client, RedisOptions{Prefix: strings.Repeat("p", 129)}, []string{"RedisOptions.Prefix", "129", "128"}},
		"a negative timeout":    {client, RedisOptions{Timeout: -time.Second}, []string{"RedisOptions.Timeout", "-1s", "negative"}},
		"a negative hold":       {client, RedisOptions{MaxHold: -time.Second}, []string{"RedisOptions.MaxHold", "-1s", "negative"}},
		"a poll too frequent":   {client, RedisOptions{PollInterval: time.Millisecond}, []string{"RedisOptions.PollInterval", "1ms", "100ms"}},
		"a poll before the end": {client, RedisOptions{PollInterval: -time.Second}, []string{"RedisOptions.PollInterval", "-1s", "100ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewRedisStore(c.client, c.opts)
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "holdoff: ") {
					t.Errorf("the error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestNamespaceMayHaveAnyOtherCharacter(t *testing.T) {
	srv := redistest.Start(t)
	for _, ns := range []string{"a:b", "a*b", "[a]?", "größe", "a/b\\c", strings.Repeat("n", 128)} {
		a := redisStore(t, srv.Client(), RedisOptions{Namespace: ns})
		b := redisStore(t, srv.Client(), RedisOptions{Namespace: ns})
		state := follow(t, b, "k")
		tell(t, a, "k", heldFor(time.Minute))
		eventually(t, "held in "+ns, func() bool { return state().Phase == Held })
	}
}

func TestRedisStoreTakesEveryKindOfClient(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	universal := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{srv.Addr}})
	defer universal.Close()
	stores := map[string]*RedisStore{
		"NewClient":          redisStore(t, srv.Client(), RedisOptions{}),
		"NewUniversalClient": redisStore(t, universal, RedisOptions{}),
		"a narrow wrapper":   redisStore(t, narrowClient{srv.Client()}, RedisOptions{}),
	}
	for name, s := range stores {
		for other, s2 := range stores {
			state := follow(t, s2, name)
			tell(t, s, name, heldFor(time.Minute))
			eventually(t, other+" hears of "+name, func() bool { return state().Phase == Held })
		}
	}

	// These have no servers here. See TestRedisStoreKeepsTheRulesOnACluster.
	nobody := []string{"127.0.0.1:1"}
	failover := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: nobody})
	defer failover.Close()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: nobody})
	defer cluster.Close()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": nobody[0]}})
	defer ring.Close()
	for name, client := range map[string]RedisClient{"NewFailoverClient": failover, "NewClusterClient": cluster, "NewRing": ring} {
		s, err := NewRedisStore(client, RedisOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := s.Exchange(t.Context(), "k", News{}); err == nil {
			t.Errorf("%s: there is no Redis, and no error", name)
		}
		s.Close()
	}
}

func TestRecordIsReadableByPeople(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, RedisOptions{Prefix: "p", Namespace: "ns"})
	before, err := rdb.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	tell(t, s, "https://api.example.com", heldFor(time.Minute))
	tell(t, s, "https://api.example.com", heldFor(time.Second))

	ids, err := rdb.ZRange(t.Context(), "p:{ns}:v1:index", 0, -1).Result()
	if err != nil || len(ids) != 1 {
		t.Fatalf("the index has %q, %v", ids, err)
	}
	record, err := rdb.HGetAll(t.Context(), "p:{ns}:v1:"+ids[0]).Result()
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"key": "https://api.example.com", "phase": "held", "attempts": "2", "status": "429", "word": "1", "v": "1", "level": "0",
	} {
		if record[field] != want {
			t.Errorf("field %s is %q, want %q", field, record[field], want)
		}
	}
	for field, want := range map[string]time.Time{"timestamp": before, "until": before.Add(time.Minute)} {
		ms, err := strconv.ParseInt(record[field], 10, 64)
		if d := time.UnixMilli(ms).Sub(want); err != nil || d < -time.Millisecond || d > 10*time.Second {
			t.Errorf("field %s is %q (%v), want about %d", field, record[field], err, want.UnixMilli())
		}
	}
}

// Store case 40.
func TestEveryRedisKeyExpires(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	const maxHold = 5 * time.Second
	s := redisStore(t, rdb, RedisOptions{MaxHold: maxHold})
	for i := range 8 {
		tell(t, s, fmt.Sprint("held", i), heldFor(time.Hour))
		tell(t, s, fmt.Sprint("failing", i), News{Failures: 3, Status: 500})
		short := fmt.Sprint("probing", i)
		state := tell(t, s, short, heldFor(time.Millisecond))
		sleepPast(state.Until)
		state = tell(t, s, short, News{Want: 1})
		if i%2 == 0 {
			tell(t, s, short, News{Generation: state.Generation, Good: 1})
		}
	}
	keys := 0
	iter := rdb.Scan(t.Context(), 0, "", 1000).Iterator()
	for iter.Next(t.Context()) {
		keys++
		ttl, err := rdb.PTTL(t.Context(), iter.Val()).Result()
		limit := maxHold + 2*hold.Grace + time.Second
		if strings.HasSuffix(iter.Val(), ":meta") {
			limit = 24 * time.Hour // two numbers, of the whole namespace
		}
		if err != nil || ttl <= 0 || ttl > limit {
			t.Errorf("%s expires in %v (%v), want %v at most", iter.Val(), ttl, err, limit)
		}
	}
	if err := iter.Err(); err != nil || keys != 26 {
		t.Errorf("there are %d keys (%v), want 24 records, an index and meta", keys, err)
	}
	// And nothing is left behind when they have expired: not in the index either.
	expire := func(part string) {
		if err := rdb.PExpire(t.Context(), s.name(part), time.Millisecond).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		for _, key := range []string{"held", "failing", "probing"} {
			expire(idOf(fmt.Sprint(key, i)))
		}
	}
	expire("index")
	expire("meta")
	eventually(t, "DBSIZE is 0", func() bool { return rdb.DBSize(t.Context()).Val() == 0 })
}

// A hint is cut by each who hears of it, whoever wrote it.
func TestNoHoldIsLongerThanMaxHold(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	a := redisStore(t, rdb, RedisOptions{MaxHold: time.Hour})
	b := redisStore(t, srv.Client(), RedisOptions{MaxHold: 10 * time.Second})
	state := follow(t, b, "k")
	check := func(what string, s State) {
		t.Helper()
		if left := time.Until(s.Until); left > 10100*time.Millisecond {
			t.Errorf("%s: held for %v, and MaxHold is 10 s", what, left)
		}
	}
	if left := time.Until(tell(t, a, "k", heldFor(1<<62)).Until); left > time.Hour+time.Second {
		t.Errorf("held for %v, and MaxHold is 1 h", left)
	}
	eventually(t, "held", func() bool { return state().Phase == Held })
	check("what is published", state())
	c := redisStore(t, srv.Client(), RedisOptions{MaxHold: 10 * time.Second})
	check("what is read", follow(t, c, "k")())
	check("what is answered", tell(t, b, "k", News{}))

	// A clock that was set back, or a hand that slipped.
	rdb.HSet(t.Context(), a.name(idOf("k")), "until", "99999999999999")
	check("a record far in the future", tell(t, b, "k", News{}))
}

// A quota that is refilled later than any hold may last is nobody's to wait for.
func TestNoQuotaIsAwaitedLongerThanMaxHold(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, RedisOptions{MaxHold: 10 * time.Second})
	if state := tell(t, s, "k", News{Left: 0, Refill: time.Minute, Near: true}); state.Phase != Healthy {
		t.Errorf("%+v for a refill in a minute, and MaxHold is 10 s", state)
	}
	tell(t, s, "k", News{Left: 0, Refill: 5 * time.Second, Near: true})
	rdb.HSet(t.Context(), s.name(idOf("k")), "phase", "rationed", "until", "1", "left", "0", "refill", "99999999999999")
	state := tell(t, s, "k", News{Want: 1})
	if left := time.Until(state.Until); state.Phase != Held || left > 10100*time.Millisecond {
		t.Errorf("%v for %v by a damaged record, and MaxHold is 10 s", state.Phase, left)
	}
	until := rdb.HGet(t.Context(), s.name(idOf("k")), "until").Val()
	if ms, _ := strconv.ParseInt(until, 10, 64); time.Until(time.UnixMilli(ms)) > 11*time.Second {
		t.Errorf("the record says until %s", until)
	}
}

// What a script makes of the records that a pace or a count leaves after a while,
// of which the rules that every store keeps see only the first.
func TestRecordsOfPacesThatWentOn(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, RedisOptions{})
	number := func(record, field string) float64 {
		n, err := strconv.ParseFloat(rdb.HGet(t.Context(), record, field).Val(), 64)
		if err != nil {
			t.Errorf("%s: %v", field, err)
		}
		return n
	}
	for vain, again := range []time.Duration{4, 8, 16, 32, 64, 128, 128} {
		key := fmt.Sprint("counted in vain ", vain)
		record := s.name(idOf(key))
		now := time.Now().UnixMilli()
		rdb.HSet(t.Context(), record, "v", "1", "phase", "counted", "until", now, "generation", "5", "good", "60", "bad", "2", "vain", vain)
		if state := tell(t, s, key, News{Lease: time.Second}); state.Phase != Healthy {
			t.Errorf("%v after two refusals of 62", state.Phase)
		}
		quiet := time.Duration(number(record, "quiet")-float64(now)) * time.Millisecond
		if quiet < again*time.Second || quiet > again*time.Second+10*time.Second || number(record, "vain") != float64(vain+1) {
			t.Errorf("after counting %d times in vain: quiet for %v, vain %v; want %v s", vain, quiet, number(record, "vain"), int64(again))
		}
		if ttl := rdb.PTTL(t.Context(), record).Val(); ttl < min(again*time.Second, hold.Grace)-time.Second {
			t.Errorf("the record is kept for %v, and quiet for %v", ttl, quiet)
		}
	}

	record := s.name(idOf("fast"))
	now := time.Now().UnixMilli()
	rdb.HSet(t.Context(), record, "v", "1", "phase", "paced", "until", now, "generation", "5", "good", "10", "rate", fmt.Sprint((hold.MaxPermits*float64(time.Second/hold.Slot))/1.01),
		"proof", fmt.Sprint((hold.MaxPermits*float64(time.Second/hold.Slot))/1.01), "permits", hold.MaxPermits, "granted", hold.MaxPermits)
	tell(t, s, "fast", News{Lease: time.Second})
	if rate, permits := number(record, "rate"), number(record, "permits"); rate != (hold.MaxPermits*float64(time.Second/hold.Slot)) || permits != hold.MaxPermits {
		t.Errorf("%v per second, %v permits; want %v and %d", rate, permits, (hold.MaxPermits * float64(time.Second/hold.Slot)), hold.MaxPermits)
	}

	record = s.name(idOf("vain"))
	rdb.HSet(t.Context(), record, "v", "1", "phase", "paced", "until", now, "generation", "5", "good", "7", "bad", "3", "rate", "60",
		"proof", "200", "permits", "10", "granted", "10", "vain", "2")
	tell(t, s, "vain", News{Lease: time.Second})
	if phase, permits := rdb.HGet(t.Context(), record, "phase").Val(), number(record, "permits"); phase != "ramping" || permits != 9 || number(record, "vain") != 3 {
		t.Errorf("%s of %v permits, %v times in vain; want a ramp of 9, and 3", phase, permits, number(record, "vain"))
	}
}

// A record that was damaged, or written by who knows whom, is neither a hold
// without end nor an error: what is no number counts as none.
func TestDamagedRecordsRecover(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, RedisOptions{MaxHold: 10 * time.Second})
	fields := []string{"until", "generation", "level", "permits", "granted", "good", "bad", "attempts", "failures", "status",
		"timestamp", "calm", "rate", "proof", "vain", "quiet", "asked", "left", "refill", "unmet"}
	for _, phase := range []Phase{Healthy, Held, Probing, Ramping, Counted, Paced, Rationed} {
		for _, value := range []string{"nan", "inf", "-inf", "1e308", "-1e308", "-1", "0.5", "0x10", "4503599627370496", "", "junk"} {
			for _, field := range fields {
				key := phase.String() + value + field
				record := s.name(idOf(key))
				now := time.Now().UnixMilli()
				rdb.HSet(t.Context(), record, "v", "1", "key", key, "phase", phase.String(), "until", now, "generation", "5", "level", "1",
					"permits", "10", "granted", "10", "good", "5", "bad", "5", "attempts", "3", "failures", "1", "status", "429", "rate", "100",
					"proof", "100", "left", "10", "refill", now+1000, "quiet", now, "asked", now+500)
				rdb.HSet(t.Context(), record, field, value)
				for _, n := range []News{{Generation: 5, Good: 1}, {Generation: 5, Refused: 1, Status: 429}, {Left: 5, Refill: time.Second, Near: true}, {Want: 5}} {
					n.Lease = time.Second
					state, err := s.Exchange(t.Context(), key, n)
					if err != nil {
						t.Fatalf("%v with %s %q: %v", phase, field, value, err)
					}
					checkState(t, state, 10*time.Second)
				}
				for name, v := range rdb.HGetAll(t.Context(), record).Val() {
					if strings.Contains(v, "nan") && name != "key" || strings.Contains(v, "inf") && name != "key" {
						t.Errorf("%v with %s %q: %s is %s now", phase, field, value, name, v)
					}
				}
				if t.Failed() {
					return
				}
			}
		}
	}
}

// Store case 41.
func TestHostileNamesAreJustNames(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	a := redisStore(t, rdb, RedisOptions{})
	b := redisStore(t, srv.Client(), RedisOptions{})
	long := hostkey.Name{Scheme: "https", Host: hostkey.Bounded(strings.Repeat("a", 8<<10))}.String()
	names := []string{
		"", " ", long, "https://{a}.example.com", "{", "}{", "https://a\r\nSET x y\r\n",
		"https://a\x00b", "https://\xff\xfe.example.com", "https://[fe80::1%25eth0]:8443", "https://user:pass@a.example.com",
		"https://аpple.com", "a b c", "1 " + strings.Repeat("0", 32) + " e 1 2 held 60000 1 0 1 1 0 429 1 k", "*", "a:b,c:1", "\u202e", "'; return 1 --",
		"https://a.example.com", "https://a.example.com:8443", "http://a.example.com",
	}
	for i, name := range names {
		state := follow(t, b, name)
		want := time.Duration(60+i) * time.Second
		tell(t, a, name, heldFor(want))
		eventually(t, fmt.Sprintf("%.40q is held", name), func() bool { return state().Phase == Held })
		if left := time.Until(state().Until); left > want+time.Second || left < want-30*time.Second {
			t.Errorf("%.40q is held for %v, want %v", name, left, want)
		}
		if n := len(a.name(idOf(name))); n != len("holdoff:{default}:v1:")+32 {
			t.Errorf("%.40q makes a Redis key of %d bytes", name, n)
		}
	}
	if n := rdb.DBSize(t.Context()).Val(); n != int64(len(names)+2) {
		t.Errorf("there are %d Redis keys for %d names, want one each, an index and meta", n, len(names))
	}
	// Who comes later reads the names from the records.
	c := redisStore(t, srv.Client(), RedisOptions{})
	all := make(map[string]bool)
	eventually(t, "all names are known", func() bool {
		for key := range c.All() {
			all[key] = true
		}
		return len(all) >= len(names)-1
	})
	for _, name := range names {
		if name != "" && !all[strings.ToValidUTF8(name, "\ufffd")] {
			t.Errorf("%.40q is not among the keys", name)
		}
	}
	// Nobody else is held.
	if state := tell(t, b, "https://b.example.com", News{Want: 1}); state.Phase != Healthy {
		t.Errorf("another host is %v", state.Phase)
	}
}

// Store case 43.
func TestNamespacesAndPrefixesNeverCross(t *testing.T) {
	srv := redistest.Start(t)
	opts := []RedisOptions{
		{}, {Namespace: "a"}, {Namespace: "ab"}, {Namespace: "a:v1"}, {Prefix: "holdoff2"}, {Prefix: "hold"}, {Prefix: "a", Namespace: "a"},
		{Prefix: "holdoff:v1"},
	}
	var stores []*RedisStore
	var told []chan State
	for _, o := range opts {
		s := redisStore(t, srv.Client(), o)
		c := make(chan State, 100)
		t.Cleanup(s.Watch("k", func(state State) { c <- state }))
		stores, told = append(stores, s), append(told, c)
	}
	for i, s := range stores {
		tell(t, s, "k", heldFor(time.Duration(i+1)*30*time.Second))
	}
	for i, s := range stores {
		eventually(t, fmt.Sprintf("%+v hears of its own", opts[i]), func() bool { return len(told[i]) > 0 })
		want := time.Duration(i+1) * 30 * time.Second
		for range len(told[i]) {
			if left := time.Until((<-told[i]).Until); left > want+time.Second || left < want-20*time.Second {
				t.Errorf("%+v was told of a hold of %v, want its own of %v", opts[i], left, want)
			}
		}
		if state := tell(t, s, "k", News{}); state.Attempts != 1 {
			t.Errorf("%+v has %d attempts, want its own", opts[i], state.Attempts)
		}
	}
}

// Store cases 43 and 45.
func TestForeignRecordsAreLeftAlone(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	a := redisStore(t, rdb, RedisOptions{})
	b := redisStore(t, srv.Client(), RedisOptions{})
	ctx := t.Context()
	rdb.Set(ctx, a.name(idOf("string")), "mine", 0)
	rdb.RPush(ctx, a.name(idOf("list")), "mine")
	rdb.HSet(ctx, a.name(idOf("v2")), "v", "2", "phase", "held", "until", "99999999999999", "key", "v2")
	for _, key := range []string{"string", "list", "v2"} {
		before := rdb.Dump(ctx, a.name(idOf(key))).Val()
		for range 3 {
			if state, err := a.Exchange(ctx, key, heldFor(time.Minute)); !errors.Is(err, errForeign) {
				t.Errorf("a record %q: %+v, %v, want an error", key, state, err)
			}
		}
		if rdb.Dump(ctx, a.name(idOf(key))).Val() != before {
			t.Errorf("the record %q was changed", key)
		}
	}
	if a.Err() != nil {
		t.Errorf("a record that isn't ours is no reason to leave Redis alone: %v", a.Err())
	}
	state := follow(t, b, "ours")
	tell(t, a, "ours", heldFor(time.Minute))
	eventually(t, "other keys are shared", func() bool { return state().Phase == Held })
	// In the index as well, where who joins would read them.
	for _, key := range []string{"string", "list", "v2"} {
		rdb.ZAdd(ctx, a.name("index"), redis.Z{Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: idOf(key)})
	}
	rdb.ZAdd(ctx, a.name("index"), redis.Z{Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: "not an id"})
	c := redisStore(t, srv.Client(), RedisOptions{})
	if follow(t, c, "ours")().Phase != Held || follow(t, c, "v2")().Phase != Healthy {
		t.Error("who joins does not know what is ours, or believes what is not")
	}
}

func TestForeignIndexOrMetaIsNoCrash(t *testing.T) {
	for _, part := range []string{"index", "meta"} {
		t.Run(part, func(t *testing.T) {
			srv := redistest.Start(t)
			srv.Client().Set(t.Context(), "holdoff:{default}:v1:"+part, "mine", 0)
			s := redisStore(t, srv.Client(), RedisOptions{})
			if _, err := s.Exchange(t.Context(), "k", heldFor(time.Minute)); err == nil {
				t.Error("no error")
			}
			if got := srv.Client().Get(t.Context(), "holdoff:{default}:v1:"+part).Val(); got != "mine" {
				t.Errorf("it is %q now", got)
			}
		})
	}
}

// Store case 45.
func TestUnknownFieldsArePreserved(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, RedisOptions{})
	held := tell(t, s, "k", heldFor(20*time.Millisecond))
	record := s.name(idOf("k"))
	rdb.HSet(t.Context(), record, "pace", "17", "zone", "eu")
	sleepPast(held.Until)
	state := tell(t, s, "k", News{Want: 1})
	tell(t, s, "k", News{Generation: state.Generation, Good: 1})
	got := rdb.HMGet(t.Context(), record, "pace", "zone", "phase").Val()
	if got[0] != "17" || got[1] != "eu" || got[2] != "ramping" {
		t.Errorf("the record has %v, want 17, eu, ramping", got)
	}
}

// go-redis runs a script again when its answer was late.
func TestScriptThatRunsTwiceChangesNothingThatMatters(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	for name, c := range map[string]struct {
		before func(key string, s *RedisStore) State
		news   News
	}{
		"failures": {nil, News{Failures: 10, Status: 500}},
		"failures that hold": {func(key string, s *RedisStore) State {
			other := redisStore(t, srv.Client(), RedisOptions{})
			return tell(t, other, key, News{Failures: 19})
		}, News{Failures: 1}},
		"a hint": {nil, heldFor(time.Minute)},
		"a bad probe": {func(key string, s *RedisStore) State {
			sleepPast(tell(t, s, key, heldFor(time.Millisecond)).Until)
			return tell(t, s, key, News{Want: 1})
		}, News{Refused: 1}},
		"a bad probe with a hint": {func(key string, s *RedisStore) State {
			sleepPast(tell(t, s, key, heldFor(time.Millisecond)).Until)
			return tell(t, s, key, News{Want: 1})
		}, News{Refused: 1, Hint: time.Minute, Word: true}},
		"a success": {func(key string, s *RedisStore) State { return tell(t, s, key, News{Failures: 10}) }, News{Well: true}},
		"a probe": {func(key string, s *RedisStore) State {
			state := tell(t, s, key, heldFor(time.Millisecond))
			sleepPast(state.Until)
			return state
		}, News{Want: 1}},
		"a good probe": {func(key string, s *RedisStore) State {
			sleepPast(tell(t, s, key, heldFor(time.Millisecond)).Until)
			return tell(t, s, key, News{Want: 1})
		}, News{Good: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := redisStore(t, rdb, RedisOptions{})
			var state State
			if c.before != nil {
				state = c.before(name, s)
			}
			c.news.Generation, c.news.Lease = state.Generation, 10*time.Second
			id := idOf(name)
			args := s.args(id, name, c.news)
			var states [2]State
			for i := range states {
				reply, err := s.run(exchangeScript, []string{s.name(id), s.name("index"), s.name("meta")}, args...)
				if err != nil {
					t.Fatal(err)
				}
				snap, granted, err := decodeReply(reply, time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				states[i] = snap.state
				states[i].Permits = granted
			}
			first, second := states[0], states[1]
			if first.Phase != second.Phase || first.Level != second.Level || first.Generation != second.Generation ||
				first.Witnesses != second.Witnesses || first.Permits+second.Permits > 2 {
				t.Errorf("once:  %+v\ntwice: %+v", first, second)
			}
			if c.news.Failures > 0 && first.Attempts != second.Attempts {
				t.Errorf("%d attempts, then %d", first.Attempts, second.Attempts)
			}
			if d := second.Until.Sub(first.Until); first.Phase == Held && d > 100*time.Millisecond {
				t.Errorf("the hold is %v longer", d)
			}
		})
	}
}

// Store case 15.
func TestRedisThatComesLaterIsJoined(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.Kill()
	begun := time.Now()
	a, b := redisStore(t, srv.Client(), RedisOptions{}), redisStore(t, srv.Client(), RedisOptions{})
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("without Redis it takes %v to make two stores", d)
	}
	client := &http.Client{Transport: &Transport{Base: script(200), Store: a}}
	if resp, err := client.Get("http://a.example.com"); err != nil || resp.StatusCode != 200 {
		t.Errorf("a request without Redis: %v, %v", resp, err)
	}
	eventually(t, "that Redis is away is known", func() bool { return a.Err() != nil && b.Err() != nil })
	srv.Restart()
	eventually(t, "both stores are back", func() bool { return a.Err() == nil && b.Err() == nil })
	state := follow(t, b, "k")
	tell(t, a, "k", heldFor(time.Minute))
	eventually(t, "holds are shared", func() bool { return state().Phase == Held })
}

// keyIs reports the phase of the only key that a Transport knows something of.
func keyIs(tr *Transport) KeyState {
	for s := range tr.Keys() {
		return s
	}
	return KeyState{}
}

// fleetOf makes Transports with a store each, which know host already.
func fleetOf(t *testing.T, srv *redistest.Server, n int, base http.RoundTripper, host string) []*Transport {
	t.Helper()
	var fleet []*Transport
	for range n {
		tr := &Transport{Base: base, Store: redisStore(t, srv.Client(), RedisOptions{}), MaxWait: -1}
		fetch(t, tr, host)
		fleet = append(fleet, tr)
	}
	return fleet
}

// fetch sends a request that may fail.
func fetch(t testing.TB, tr *Transport, url string) (int, error) {
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
		eventually(t, "all are held", func() bool { return keyIs(tr).Phase == Held && keyIs(tr).Shared })
	}
	bad.Store(false)

	s, id := fleet[0].Store.(*RedisStore), idOf(host)
	rdb.HSet(t.Context(), s.name(id), "phase", "healthy", "attempts", 0)
	rdb.HIncrBy(t.Context(), s.name("meta"), "seq", 1)
	for i, tr := range fleet {
		eventually(t, fmt.Sprintf("replica %d is free: %+v", i, keyIs(tr)), func() bool { return keyIs(tr).Phase == Healthy })
		if status, err := fetch(t, tr, host); status != 200 {
			t.Errorf("replica %d gets %d, %v", i, status, err)
		}
	}
	if phase := rdb.HGet(t.Context(), s.name(id), "phase").Val(); phase != "healthy" {
		t.Errorf("a replica has asserted the hold again: it is %s", phase)
	}
}

// Store case 23.
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
		eventually(t, "all are held", func() bool { return keyIs(tr).Phase == Held && keyIs(tr).Shared })
	}
	until := keyIs(fleet[0]).Until
	record := fleet[0].Store.(*RedisStore).name(idOf(host))
	flush := func() { rdb.FlushAll(t.Context()) }
	// Where Redis evicts what it likes, the record and the index may go, and the
	// sequence stay.
	evict := func() {
		s := fleet[0].Store.(*RedisStore)
		rdb.Del(t.Context(), record, s.name("index"))
		rdb.HIncrBy(t.Context(), s.name("meta"), "seq", 1) // somebody else's change
	}
	for _, lose := range []func(){flush, flush, evict, evict} {
		lose()
		free := false
		eventually(t, "Redis knows of the hold again", func() bool {
			for _, tr := range fleet {
				free = free || keyIs(tr).Phase != Held
			}
			return rdb.Exists(t.Context(), record).Val() == 1
		})
		if free {
			t.Error("a replica was free meanwhile")
		}
		for i, tr := range fleet {
			eventually(t, fmt.Sprintf("replica %d shares it again", i), func() bool { return keyIs(tr).Phase == Held && keyIs(tr).Shared })
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
		"evicted": func(ctx context.Context, rdb *redis.Client, record string) error { return rdb.Del(ctx, record).Err() },
		"of the future": func(ctx context.Context, rdb *redis.Client, record string) error {
			return rdb.HSet(ctx, record, "v", "2").Err()
		},
		"a string": func(ctx context.Context, rdb *redis.Client, record string) error {
			return rdb.Set(ctx, record, "?", time.Minute).Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := redistest.Start(t)
			rdb := srv.Client()
			told, heard := redisStore(t, rdb, RedisOptions{}), redisStore(t, rdb, RedisOptions{})
			tell(t, told, host, heldFor(time.Minute))
			tr := &Transport{Base: script(with(200)), Store: heard, MaxWait: -1}
			eventually(t, "the hold is heard of", func() bool { return keyIs(tr).Phase == Held })
			if err := harm(t.Context(), rdb, heard.name(idOf(host))); err != nil {
				t.Fatal(err)
			}
			for _, anew := range []bool{false, true} {
				heard.mu.Lock()
				heard.anew = anew
				heard.mu.Unlock()
				heard.readAll()
				if k := keyIs(tr); k.Phase != Held {
					t.Errorf("the key is %v when all was read, anew %v", k.Phase, anew)
				}
			}
			if status, err := fetch(t, tr, host); !errors.As(err, new(*HeldError)) {
				t.Errorf("a request got %d, %v; want to be told of the hold", status, err)
			}
			if name == "flushed" || name == "evicted" {
				record := heard.name(idOf(host))
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
	store := redisStore(t, client, RedisOptions{PollInterval: 3 * time.Second})
	proxy.Set(redistest.Faults{LoseReplies: true, OnlySubscribed: true})
	const host = "https://api.example.com"
	tr := &Transport{Base: script(with(429, "Retry-After: 240")), Store: store}
	fetch(t, tr, host)
	rdb := srv.Client()
	record := store.name(idOf(host))
	eventually(t, "Redis knows of the hold", func() bool { return rdb.Exists(t.Context(), record).Val() == 1 })
	rdb.FlushAll(t.Context())
	eventually(t, "Redis knows of the hold again", func() bool { return rdb.Exists(t.Context(), record).Val() == 1 })
}

// Store case 18.
func TestCloseIsQuickWhateverRedisDoes(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	srv := redistest.Start(t)
	client := srv.Client()
	s, err := NewRedisStore(client, RedisOptions{PollInterval: minPoll})
	if err != nil {
		t.Fatal(err)
	}
	tell(t, s, "k", heldFor(time.Minute))
	srv.Pause()
	time.Sleep(3 * minPoll)
	begun := time.Now()
	s.Close()
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("Close takes %v", d)
	}
	if _, err := s.Exchange(t.Context(), "k", News{}); err == nil {
		t.Error("a store that is closed exchanges")
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	srv.Continue()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the client was closed as well: %v", err)
	}
	client.Close()
	srv.Kill()
	eventually(t, "no goroutine is left", func() bool { return goleak.Find(ignore) == nil })
}

// Subscriptions that are given up have more to say than their channels have room
// for, and go-redis would wait a minute for the room. Some of a dozen end without
// having taken out a single message more.
func TestSubscriptionsThatAreGivenUpLeaveNothing(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	other := redisStore(t, rdb, RedisOptions{})
	stores := make([]*RedisStore, 12)
	for i := range stores {
		stores[i] = redisStore(t, srv.Client(), RedisOptions{})
	}
	channel := other.name("changes")
	eventually(t, "all have subscribed", func() bool {
		return rdb.PubSubNumSub(t.Context(), channel).Val()[channel] == int64(len(stores)+1)
	})
	goroutines := func() map[string]string { // their stacks by their names
		buf := make([]byte, 4<<20)
		stacks := make(map[string]string)
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			name, rest, _ := strings.Cut(stack, " [")
			stacks[name] = rest
		}
		return stacks
	}
	stuck := make(map[string]bool) // the names of those that wait for room
	func() {
		for _, s := range stores {
			s.mu.Lock() // so that it does not listen for a while
			defer s.mu.Unlock()
		}
		for i := range 300 {
			tell(t, other, strconv.Itoa(i), heldFor(time.Minute))
		}
		eventually(t, "the channels are full", func() bool {
			for name, stack := range goroutines() {
				if strings.HasPrefix(stack, "select") && strings.Contains(stack, "(*channel).initAllChan") {
					stuck[name] = true
				}
			}
			return len(stuck) >= len(stores)
		})
		for _, s := range stores {
			signal(s.deaf)
		}
	}()
	eventually(t, "nobody waits for room in a channel", func() bool {
		now := goroutines()
		for name := range stuck {
			if now[name] != "" {
				return false
			}
		}
		return true
	})
}

// pausingClient calls before, ahead of each script that runs.
type pausingClient struct {
	narrowClient
	before func(sha string, keys []string, args []any)
}

func (c pausingClient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	c.before(sha, keys, args)
	return c.narrowClient.EvalSha(ctx, sha, keys, args...)
}

// The index moves while it is read, page by page: keys of the pages that were
// read recover, and those behind them move up.
func TestHoldIsNotLostWhereTheIndexMovesWhileItIsRead(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	a := redisStore(t, rdb, RedisOptions{})
	var moved atomic.Int64
	move := func(sha string, keys []string, args []any) {
		if sha == indexScript.Hash() && args[0] != 0 && moved.Add(1) == 1 {
			ids := rdb.ZRange(context.Background(), a.name("index"), 0, 9).Val()
			for _, id := range ids {
				rdb.ZRem(context.Background(), a.name("index"), id)
				rdb.Del(context.Background(), a.name(id))
			}
		}
	}
	moved.Store(1)
	b := redisStore(t, pausingClient{narrowClient{srv.Client()}, move}, RedisOptions{})
	const keys = pageSize * 2
	var states []func() State
	for i := range keys {
		key := fmt.Sprint("https://", i, ".example.com")
		states = append(states, follow(t, b, key))
		tell(t, a, key, heldFor(time.Duration(100+i)*time.Second))
	}
	held := func() (n int) {
		for _, state := range states[10:] {
			if s := state(); s.Phase == Held {
				n++
			}
		}
		return n
	}
	eventually(t, "all are held", func() bool { return held() == keys-10 })
	moved.Store(0)
	rdb.HIncrBy(context.Background(), a.name("meta"), "seq", 1) // b has missed something
	eventually(t, "the index is read", func() bool { return moved.Load() > 0 })
	time.Sleep(300 * time.Millisecond)
	if n := held(); n != keys-10 {
		t.Errorf("%d keys are held, want %d: all but those that are gone", n, keys-10)
	}
}

// Store case 42.
func TestKeysBeyondTheMirrorAreNotForgottenByOthers(t *testing.T) {
	srv := redistest.Start(t)
	s := redisStore(t, srv.Client(), RedisOptions{})
	s.mu.Lock()
	for i := range maxMirror {
		s.mirror[strconv.Itoa(i)] = &entry{key: "x", state: State{Phase: Held, Until: time.Now().Add(time.Minute), Version: 1}}
	}
	s.mu.Unlock()
	other := redisStore(t, srv.Client(), RedisOptions{})
	// What is in use here has its place, however many others there are.
	state := follow(t, s, "https://api.example.com")
	tell(t, other, "https://api.example.com", heldFor(time.Minute))
	eventually(t, "a key in use is shared", func() bool { return state().Phase == Held })
	for i := range 100 {
		tell(t, other, fmt.Sprint("https://", i, ".example.com"), heldFor(time.Minute))
	}
	time.Sleep(50 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.mirror); n > maxMirror+1 {
		t.Errorf("the mirror has %d entries, want %d at most and one in use", n, maxMirror)
	}
}

// checkState checks what was believed of a message.
func checkState(t *testing.T, s State, maxHold time.Duration) {
	if left := time.Until(s.Until); left > maxHold {
		t.Errorf("held for %v, and MaxHold is %v", left, maxHold)
	}
	if s.Phase < Healthy || s.Phase > Rationed || !(s.Rate >= 0 && s.Rate < 1e15) || s.Level < 0 || s.Attempts < 0 || s.Status < 0 || s.Witnesses < 0 ||
		s.Permits < 0 || s.Last.After(time.Now()) {
		t.Errorf("a state that can't be: %+v", s)
	}
	_ = s.Phase.String()
}

func FuzzPayload(f *testing.F) {
	id := strings.Repeat("0", 32)
	for _, seed := range []string{
		"", "1", "2 " + id, "1 " + id + " e-1 7 1700000000000 held 60000 3 1 1 5 12 429 2 200000 https://api.example.com",
		"1 " + id + " e-1 7 1700000000000 held 99999999999999999999 3 1 1 5 12 429 2 0 k",
		"1 " + id + " e-1 -7 1700000000000 held -5 -3 1 1 5 -12 429 2 0 a b c", "1 " + id + " e 1 1 dead 1 1 1 1 1 1 1 1 1 k",
		"1 " + id + " e 1 1 paced 100 3 0 0 5 12 429 2 9007199254740993 k", "1 " + id + " e 1 1 rationed 100 3 0 0 5 12 429 2 NaN k",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		snap, ok := decodePayload(payload, time.Minute)
		if !ok {
			return
		}
		checkState(t, snap.state, time.Minute)
		if len(snap.id) != 32 || snap.seq >= 1<<seqBits {
			t.Errorf("id %q, seq %d", snap.id, snap.seq)
		}
	})
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"", "foreign", "ok", "ok\ne-1\n7\n1700000000000\nheld\n60000\n3\n1\n1\n5\n12\n429\n2\n200000\nk\n4",
		"ok\ne-1\n:7\n:1700000000000\nramping\n:9223372036854775807\n3\n1\n1\n5\n-12\n429\n2\n0\nk\n-4", "ok\n*\n*",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		var reply []any
		for part := range strings.SplitSeq(data, "\n") {
			if n, err := strconv.ParseInt(strings.TrimPrefix(part, ":"), 10, 64); err == nil && strings.HasPrefix(part, ":") {
				reply = append(reply, n)
			} else if part == "*" {
				reply = append(reply, []any{part})
			} else if part == "-" {
				reply = append(reply, nil)
			} else {
				reply = append(reply, part)
			}
		}
		if snap, granted, err := decodeReply(reply, time.Minute); err == nil {
			checkState(t, snap.state, time.Minute)
			if granted < 0 || granted > hold.MaxPermits {
				t.Errorf("%d permits", granted)
			}
		}
		if snap, ok := decodeSnapshot(reply, time.Minute); ok {
			checkState(t, snap.state, time.Minute)
		}
		if _, seq, _, ok := decodeMeta(reply); ok {
			if seq >= 1<<seqBits {
				t.Errorf("seq %d", seq)
			}
			if ids := decodeIDs(reply); slices.ContainsFunc(ids, func(id string) bool { return len(id) != 32 }) {
				t.Errorf("ids %q", ids)
			}
		}
	})
}

// A process that is told to slow down, and ends, has told the others.
func TestCloseTellsWhatWasLearnt(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	for range 5 {
		srv.Client().FlushAll(t.Context())
		s, err := NewRedisStore(srv.Client(), RedisOptions{})
		if err != nil {
			t.Fatal(err)
		}
		tr := &Transport{Base: script(with(429, "Retry-After: 8")), Store: s, MaxAttempts: 1}
		wants(t, tr, "http://h.example/", 429)
		s.Close()
		if got := srv.Client().HGet(t.Context(), s.name(idOf("http://h.example")), "phase").Val(); got != "held" {
			t.Fatalf("got phase %q in Redis after Close, want held", got)
		}
	}
}

// Many keys of many Transports at a time are no reason to leave Redis alone.
func TestManyKeysAtATimeAreShared(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	srv := redistest.Start(t)
	s, err := NewRedisStore(srv.Client(), RedisOptions{Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var wg sync.WaitGroup
	for i := range 4 {
		tr := &Transport{Base: script(with(429, "Retry-After: 30")), Store: s, MaxAttempts: 1}
		for k := range 200 {
			wg.Go(func() { get(t, tr, fmt.Sprintf("http://h%d-%d.example/", i, k)) })
		}
	}
	wg.Wait()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		n := srv.Client().ZCard(t.Context(), s.name("index")).Val()
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

// Records that have expired do not keep new ones out.
func TestExpiredRecordsMakeRoom(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, RedisOptions{})
	fill := func(at time.Time) {
		members := make([]redis.Z, maxRecords)
		for i := range members {
			members[i] = redis.Z{Score: float64(at.UnixMilli()), Member: fmt.Sprintf("%032x", i)}
		}
		for part := range slices.Chunk(members, 4096) {
			if err := rdb.ZAdd(t.Context(), s.name("index"), part...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	hint := News{Hint: 5 * time.Second, Word: true, Status: 429}
	fill(time.Now().Add(time.Hour))
	if _, err := s.Exchange(t.Context(), "http://h.example", hint); !errors.Is(err, errFull) {
		t.Errorf("got %v where the index is full, want %v", err, errFull)
	}
	fill(time.Now().Add(-time.Minute))
	if state, err := s.Exchange(t.Context(), "http://h.example", hint); err != nil || state.Phase != Held {
		t.Errorf("got %v, %v where all others have expired; want it held", state.Phase, err)
	}
}
