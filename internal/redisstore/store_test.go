package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/hostkey"
	"github.com/go-holdoff/holdoff/internal/jitter"
	"github.com/go-holdoff/holdoff/internal/mirror"
	"github.com/go-holdoff/holdoff/internal/redisrun"
	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/go-holdoff/holdoff/internal/scope"
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

// exchange reports, and decides where that is due, as an admission session does.
func exchange(s *Store, key string, r hold.Report) (hold.Snapshot, error) {
	if r.Lease == 0 {
		r.Lease = 10 * time.Second
	}
	r.Version = hold.Version
	reply, err := s.Report(context.Background(), key, r)
	if err == nil && reply.Decide {
		reply, err = s.Commit(context.Background(), key, hold.Advance(reply.Record, r, reply.Now, reply.MaxHold, jitter.Uniform))
	}
	return reply.Snapshot, err
}

// tell exchanges a report, which must work.
func tell(t testing.TB, s *Store, key string, r hold.Report) hold.Snapshot {
	t.Helper()
	var state hold.Snapshot
	var err error
	for range 20 { // a slow machine may take longer than the store's timeout
		state, err = exchange(s, key, r)
		if !errors.Is(err, redisrun.ErrLate) && !errors.Is(err, errAway) && !errors.Is(err, context.DeadlineExceeded) {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("exchange about %q: %v", key, err)
	}
	return state
}

// redisStore makes a store that is closed at the end of the test.
func redisStore(t testing.TB, client Client, opts Options) *Store {
	t.Helper()
	s, err := New(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// sleepPast sleeps until t is over.
func sleepPast(t time.Time) { time.Sleep(time.Until(t) + 5*time.Millisecond) }

// follow watches a record, and returns what is known of it.
func follow(t testing.TB, s *Store, record string) func() hold.Snapshot {
	var mu sync.Mutex
	var last hold.Snapshot
	key, own := scope.Split(canonical(record))
	stop := s.Watch(key, func(part string, state hold.Snapshot) {
		mu.Lock()
		defer mu.Unlock()
		if part == own {
			last = state
		}
	})
	t.Cleanup(stop)
	return func() hold.Snapshot {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

// heldFor is the news of a hint.
func heldFor(d time.Duration) hold.Report {
	return hold.Report{Hint: d, ServerDirected: true, Status: 429}
}

// narrowClient has no more methods than a Store needs.
type narrowClient struct{ c redis.UniversalClient }

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
		client Client
		opts   Options
		want   []string // what the error says
	}{
		"no client":             {nil, Options{}, []string{"client is nil"}},
		"a typed nil":           {noClient, Options{}, []string{"client is nil"}},
		"a typed nil Cluster":   {noCluster, Options{}, []string{"client is nil"}},
		"a brace":               {client, Options{Namespace: "a{b"}, []string{"Options.Namespace", "braces"}},
		"the other brace":       {client, Options{Prefix: "a}b"}, []string{"Options.Prefix", "braces"}},
		"white space":           {client, Options{Namespace: "a b"}, []string{"Options.Namespace", "white space"}},
		"a line break":          {client, Options{Prefix: "a\r\nb"}, []string{"Options.Prefix", "control"}},
		"NUL":                   {client, Options{Namespace: "a\x00"}, []string{"Options.Namespace", "control"}},
		"invalid UTF-8":         {client, Options{Namespace: "a\xff"}, []string{"Options.Namespace"}},
		"a long namespace":      {client, Options{Namespace: strings.Repeat("n", 129)}, []string{"Options.Namespace", "129", "128"}},
		"a long prefix":         {client, Options{Prefix: strings.Repeat("p", 129)}, []string{"Options.Prefix", "129", "128"}},
		"a negative timeout":    {client, Options{Timeout: -time.Second}, []string{"Options.Timeout", "-1s", "negative"}},
		"a negative hold":       {client, Options{MaxHold: -time.Second}, []string{"Options.MaxHold", "-1s", "negative"}},
		"a poll too frequent":   {client, Options{PollInterval: time.Millisecond}, []string{"Options.PollInterval", "1ms", "100ms"}},
		"a poll before the end": {client, Options{PollInterval: -time.Second}, []string{"Options.PollInterval", "-1s", "100ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(c.client, c.opts)
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
		a := redisStore(t, srv.Client(), Options{Namespace: ns})
		b := redisStore(t, srv.Client(), Options{Namespace: ns})
		state := follow(t, b, "k")
		tell(t, a, "k", heldFor(time.Minute))
		eventually(t, "held in "+ns, func() bool { return state().Phase == hold.Held })
	}
}

func TestRedisStoreTakesEveryKindOfClient(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	universal := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{srv.Addr}})
	defer universal.Close()
	stores := map[string]*Store{
		"NewClient":          redisStore(t, srv.Client(), Options{}),
		"NewUniversalClient": redisStore(t, universal, Options{}),
		"a narrow wrapper":   redisStore(t, narrowClient{srv.Client()}, Options{}),
	}
	for name, s := range stores {
		for other, s2 := range stores {
			state := follow(t, s2, name)
			tell(t, s, name, heldFor(time.Minute))
			eventually(t, other+" hears of "+name, func() bool { return state().Phase == hold.Held })
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
	for name, client := range map[string]Client{"NewFailoverClient": failover, "NewClusterClient": cluster, "NewRing": ring} {
		s, err := New(client, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := exchange(s, "k", hold.Report{}); err == nil {
			t.Errorf("%s: there is no Redis, and no error", name)
		}
		s.Close()
	}
}

func TestRecordIsReadableByPeople(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, Options{Prefix: "p", Namespace: "ns"})
	before, err := rdb.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	tell(t, s, "https://api.example.com", heldFor(time.Minute))
	tell(t, s, "https://api.example.com", heldFor(time.Second))

	ids, err := rdb.ZRange(t.Context(), "p:{ns}:v3:index", 0, -1).Result()
	if err != nil || len(ids) != 1 {
		t.Fatalf("the index has %q, %v", ids, err)
	}
	record, err := rdb.HGetAll(t.Context(), "p:{ns}:v3:"+ids[0]).Result()
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"key": "https://api.example.com", "phase": "held", "attempts": "2", "status": "429", "v": "3",
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

func TestEveryRedisKeyExpires(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	const maxHold = 5 * time.Second
	s := redisStore(t, rdb, Options{MaxHold: maxHold})
	for i := range 8 {
		tell(t, s, fmt.Sprint("held", i), heldFor(time.Hour))
		tell(t, s, fmt.Sprint("failing", i), hold.Report{Failures: 3, Status: 500})
		short := fmt.Sprint("probing", i)
		state := tell(t, s, short, heldFor(time.Millisecond))
		sleepPast(state.Until)
		state = tell(t, s, short, hold.Report{Want: 1})
		if i%2 == 0 {
			tell(t, s, short, hold.Report{Generation: state.Generation, Good: 1})
		}
	}
	keys := 0
	iter := rdb.Scan(t.Context(), 0, "", 1000).Iterator()
	for iter.Next(t.Context()) {
		keys++
		ttl, err := rdb.PTTL(t.Context(), iter.Val()).Result()
		limit := maxHold + 2*hold.Grace + time.Second
		if strings.HasSuffix(iter.Val(), ":meta") || strings.HasSuffix(iter.Val(), ":changes") {
			limit = 24 * time.Hour // two numbers, and a bounded log, of the whole namespace
		}
		if err != nil || ttl <= 0 || ttl > limit {
			t.Errorf("%s expires in %v (%v), want %v at most", iter.Val(), ttl, err, limit)
		}
	}
	if err := iter.Err(); err != nil || keys != 27 {
		t.Errorf("there are %d keys (%v), want 24 records, an index, meta and changes", keys, err)
	}
	// And nothing is left behind when they have expired: not in the index either. A store
	// that goes on makes the meta data again.
	s.Close()
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
	expire("changes")
	eventually(t, "DBSIZE is 0", func() bool { return rdb.DBSize(t.Context()).Val() == 0 })
}

// A hint is cut by each who hears of it, whoever wrote it.
func TestNoHoldIsLongerThanMaxHold(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	a := redisStore(t, rdb, Options{MaxHold: time.Hour})
	b := redisStore(t, srv.Client(), Options{MaxHold: 10 * time.Second})
	state := follow(t, b, "k")
	check := func(what string, s hold.Snapshot) {
		t.Helper()
		if left := time.Until(s.Until); left > 10100*time.Millisecond {
			t.Errorf("%s: held for %v, and MaxHold is 10 s", what, left)
		}
	}
	if left := time.Until(tell(t, a, "k", heldFor(1<<62)).Until); left > time.Hour+time.Second {
		t.Errorf("held for %v, and MaxHold is 1 h", left)
	}
	eventually(t, "held", func() bool { return state().Phase == hold.Held })
	check("what is published", state())
	c := redisStore(t, srv.Client(), Options{MaxHold: 10 * time.Second})
	check("what is read", follow(t, c, "k")())
	check("what is answered", tell(t, b, "k", hold.Report{}))

	// A clock that was set back, or a hand that slipped.
	rdb.HSet(t.Context(), a.name(idOf("k")), "until", "99999999999999")
	check("a record far in the future", tell(t, b, "k", hold.Report{}))
}

// A quota that is refilled later than any hold may last is nobody's to wait for.
func TestNoQuotaIsAwaitedLongerThanMaxHold(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, Options{MaxHold: 10 * time.Second})
	if state := tell(t, s, "k", hold.Report{Remaining: 0, ResetIn: time.Minute, NearExhaustion: true}); state.Phase != hold.Healthy {
		t.Errorf("%+v for a refill in a minute, and MaxHold is 10 s", state)
	}
	tell(t, s, "k", hold.Report{Remaining: 0, ResetIn: 5 * time.Second, NearExhaustion: true})
	rdb.HSet(t.Context(), s.name(idOf("k")), "phase", "rationed", "until", "1", "left", "0", "refill", "99999999999999")
	state := tell(t, s, "k", hold.Report{Want: 1})
	if left := time.Until(state.Until); state.Phase != hold.Held || left > 10100*time.Millisecond {
		t.Errorf("%v for %v by a damaged record, and MaxHold is 10 s", state.Phase, left)
	}
	until := rdb.HGet(t.Context(), s.name(idOf("k")), "until").Val()
	if ms, _ := strconv.ParseInt(until, 10, 64); time.Until(time.UnixMilli(ms)) > 11*time.Second {
		t.Errorf("the record says until %s", until)
	}
}

func TestHostileNamesAreJustNames(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	a := redisStore(t, rdb, Options{})
	b := redisStore(t, srv.Client(), Options{})
	long := hostkey.Name{Scheme: "https", Host: hostkey.Bounded(strings.Repeat("a", 8<<10))}.String()
	names := []string{
		"", long, "https://{a}.example.com", "{", "}{", "https://a\r\nSET x y\r\n",
		"https://a\x00b", "https://\xff\xfe.example.com", "https://[fe80::1%25eth0]:8443", "https://user:pass@a.example.com",
		"https://аpple.com", "a b c", "1 " + strings.Repeat("0", 32) + " e 1 2 held 60000 1 0 1 1 0 429 1 k", "*", "a:b,c:1", "\u202e", "'; return 1 --",
		"https://a.example.com", "https://a.example.com:8443", "http://a.example.com",
	}
	for i, name := range names {
		state := follow(t, b, name)
		want := time.Duration(60+i) * time.Second
		tell(t, a, name, heldFor(want))
		eventually(t, fmt.Sprintf("%.40q is held", name), func() bool { return state().Phase == hold.Held })
		if left := time.Until(state().Until); left > want+time.Second || left < want-30*time.Second {
			t.Errorf("%.40q is held for %v, want %v", name, left, want)
		}
		if n := len(a.name(idOf(name))); n != len("holdoff:{default}:v3:")+32 {
			t.Errorf("%.40q makes a Redis key of %d bytes", name, n)
		}
	}
	if n := rdb.DBSize(t.Context()).Val(); n != int64(len(names)+3) {
		t.Errorf("there are %d Redis keys for %d names, want one each, an index, meta and changes", n, len(names))
	}
	// Who comes later reads the names from the records.
	c := redisStore(t, srv.Client(), Options{})
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
	if state := tell(t, b, "https://b.example.com", hold.Report{Want: 1}); state.Phase != hold.Healthy {
		t.Errorf("another host is %v", state.Phase)
	}
}

// A scope has four segments of a path, a credential and a replica. Other replicas learn
// of the longest as it is: they have to know what it covers.
func TestStore_SharesTheLongestScopesByName(t *testing.T) {
	srv := redistest.Start(t)
	a, b := redisStore(t, srv.Client(), Options{}), redisStore(t, srv.Client(), Options{})
	key := "https://" + strings.Repeat("h", 253)
	longest := scope.Scope{Route: strings.Repeat("/"+strings.Repeat("r-", 48), 4), Credential: "01ab", Replica: rand.Text()}
	state := follow(t, b, longest.Of(key))
	tell(t, a, longest.Of(key), heldFor(time.Minute))
	eventually(t, "the hold of the longest scope is shared", func() bool { return state().Phase == hold.Held })
	if got := canonical(longest.Of(key)); got != longest.Of(key) {
		t.Errorf("got %q, want %q", got, longest.Of(key))
	}
	absurd := canonical(key + " /" + strings.Repeat("r", 1<<16))
	if got, part := scope.Split(absurd); got != key || len(part) > maxScope {
		t.Errorf("a scope that is too long becomes %q", absurd)
	}
}

func TestNamespacesAndPrefixesNeverCross(t *testing.T) {
	srv := redistest.Start(t)
	opts := []Options{
		{}, {Namespace: "a"}, {Namespace: "ab"}, {Namespace: "a:v1"}, {Prefix: "holdoff2"}, {Prefix: "hold"}, {Prefix: "a", Namespace: "a"},
		{Prefix: "holdoff:v1"},
	}
	var stores []*Store
	var told []chan hold.Snapshot
	for _, o := range opts {
		s := redisStore(t, srv.Client(), o)
		c := make(chan hold.Snapshot, 100)
		t.Cleanup(s.Watch("k", func(_ string, state hold.Snapshot) { c <- state }))
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
		if state := tell(t, s, "k", hold.Report{}); state.Attempts != 1 {
			t.Errorf("%+v has %d attempts, want its own", opts[i], state.Attempts)
		}
	}
}

// A record of another type or version, under a name that only a digest of the key can
// have, is damage: it is replaced, and Err says so.
func TestStore_ReplacesRecordsThatCannotBeRead(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	a := redisStore(t, rdb, Options{})
	b := redisStore(t, srv.Client(), Options{})
	ctx := t.Context()
	rdb.Set(ctx, a.name(idOf("string")), "mine", 0)
	rdb.RPush(ctx, a.name(idOf("list")), "mine")
	rdb.HSet(ctx, a.name(idOf("v4")), "v", "4", "phase", "held", "until", "99999999999999", "key", "v4")
	for _, key := range []string{"string", "list", "v4"} {
		state := follow(t, b, key)
		tell(t, a, key, heldFor(time.Minute))
		eventually(t, "the other knows "+key, func() bool { return state().Phase == hold.Held })
		if err := a.Err(); err == nil || !strings.Contains(err.Error(), a.name(idOf(key))) {
			t.Errorf("after a record %q was replaced: Err is %v, want it named", key, err)
		}
	}
	// An id in the index that has no record, or is none.
	rdb.ZAdd(ctx, a.name("index"), redis.Z{Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: idOf("gone")})
	rdb.ZAdd(ctx, a.name("index"), redis.Z{Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: "not an id"})
	c := redisStore(t, srv.Client(), Options{})
	if follow(t, c, "list")().Phase != hold.Held || follow(t, c, "gone")().Phase != hold.Healthy {
		t.Error("a replica that joins does not know what is held, or believes what is not there")
	}
}

// An index or meta data of another type are replaced.
func TestStore_SurvivesForeignIndexAndMeta(t *testing.T) {
	for _, part := range []string{"index", "meta"} {
		t.Run(part, func(t *testing.T) {
			srv := redistest.Start(t)
			name := "holdoff:{default}:v3:" + part
			srv.Client().Set(t.Context(), name, "mine", 0)
			s := redisStore(t, srv.Client(), Options{})
			if _, err := exchange(s, "k", heldFor(time.Minute)); err != nil {
				t.Error(err)
			}
			if part == "index" && s.Err() == nil {
				t.Error("Err tells nothing")
			}
		})
	}
}

func TestUnknownFieldsArePreserved(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, Options{})
	held := tell(t, s, "k", heldFor(4*hold.Slot))
	record := s.name(idOf("k"))
	rdb.HSet(t.Context(), record, "pace", "17", "zone", "eu")
	sleepPast(held.Until)
	state := tell(t, s, "k", hold.Report{Want: 1})
	tell(t, s, "k", hold.Report{Generation: state.Generation, Good: 1})
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
		before func(key string, s *Store) hold.Snapshot
		report hold.Report
	}{
		"failures": {nil, hold.Report{Failures: 10, Status: 500}},
		"failures that hold": {func(key string, s *Store) hold.Snapshot {
			other := redisStore(t, srv.Client(), Options{})
			return tell(t, other, key, hold.Report{Failures: 19})
		}, hold.Report{Failures: 1}},
		"a hint": {nil, heldFor(time.Minute)},
		"a bad probe": {func(key string, s *Store) hold.Snapshot {
			sleepPast(tell(t, s, key, heldFor(time.Millisecond)).Until)
			return tell(t, s, key, hold.Report{Want: 1})
		}, hold.Report{Refused: 1}},
		"a bad probe with a hint": {func(key string, s *Store) hold.Snapshot {
			sleepPast(tell(t, s, key, heldFor(time.Millisecond)).Until)
			return tell(t, s, key, hold.Report{Want: 1})
		}, hold.Report{Refused: 1, Hint: time.Minute, ServerDirected: true}},
		"a success": {func(key string, s *Store) hold.Snapshot { return tell(t, s, key, hold.Report{Failures: 10}) }, hold.Report{Well: true}},
		"a probe": {func(key string, s *Store) hold.Snapshot {
			state := tell(t, s, key, heldFor(time.Millisecond))
			sleepPast(state.Until)
			return state
		}, hold.Report{Want: 1}},
		"a good probe": {func(key string, s *Store) hold.Snapshot {
			sleepPast(tell(t, s, key, heldFor(time.Millisecond)).Until)
			return tell(t, s, key, hold.Report{Want: 1})
		}, hold.Report{Good: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var states [2]hold.Snapshot
			for i, client := range []Client{rdb, twiceClient{narrowClient{rdb}}} {
				s := redisStore(t, client, Options{})
				key := fmt.Sprint(name, i)
				var state hold.Snapshot
				if c.before != nil {
					state = c.before(key, s)
				}
				c.report.Generation = state.Generation
				states[i] = tell(t, s, key, c.report)
			}
			once, twice := states[0], states[1]
			if once.Phase != twice.Phase || once.Level != twice.Level || once.Witnesses != twice.Witnesses || twice.Permits > once.Permits {
				t.Errorf("once:  %+v\ntwice: %+v", once, twice)
			}
			if c.report.Failures > 0 && once.Attempts != twice.Attempts {
				t.Errorf("%d attempts, then %d", once.Attempts, twice.Attempts)
			}
			if d := twice.Until.Sub(once.Until); once.Phase == hold.Held && c.report.Hint > 0 && d > time.Second {
				t.Errorf("the hold is %v longer", d)
			}
		})
	}
}

// twiceClient runs every script twice, as go-redis does where the first answer was
// late, and returns the second answer.
type twiceClient struct{ narrowClient }

func (c twiceClient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	c.narrowClient.EvalSha(ctx, sha, keys, args...)
	return c.narrowClient.EvalSha(ctx, sha, keys, args...)
}

func TestCloseIsQuickWhateverRedisDoes(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	srv := redistest.Start(t)
	client := srv.Client()
	s, err := New(client, Options{PollInterval: minPoll})
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
	if _, err := exchange(s, "k", hold.Report{}); err == nil {
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

// A subscription that is given up has more to say than was taken out of it.
func TestSubscriptionsThatAreGivenUpLeaveNothing(t *testing.T) {
	srv := redistest.Start(t)
	other := redisStore(t, srv.Client(), Options{})
	stores := make([]*Store, 12)
	for i := range stores {
		stores[i] = redisStore(t, srv.Client(), Options{})
	}
	channel := other.name("changes")
	subscribed := func() int64 { return srv.Client().PubSubNumSub(t.Context(), channel).Val()[channel] }
	eventually(t, "all have subscribed", func() bool { return subscribed() == int64(len(stores)+1) })
	func() {
		for _, s := range stores {
			s.mu.Lock() // so that it does not listen for a while
			defer s.mu.Unlock()
		}
		for i := range 300 {
			tell(t, other, strconv.Itoa(i), heldFor(time.Minute))
		}
		for _, s := range stores {
			signal(s.stalled)
		}
	}()
	buf := make([]byte, 4<<20)
	eventually(t, "each store has one subscription, and no more goroutines than for it", func() bool {
		stacks := string(buf[:runtime.Stack(buf, true)])
		return subscribed() == int64(len(stores)+1) && strings.Count(stacks, "created by github.com/go-holdoff/holdoff/internal/redisstore.(*Store).subscribe") == len(stores)+1
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
	a := redisStore(t, rdb, Options{})
	var moved atomic.Int64
	move := func(sha string, keys []string, args []any) {
		if sha == indexScript.Hash() && args[1] != 0 && moved.Add(1) == 1 {
			ids := rdb.ZRange(context.Background(), a.name("index"), 0, 9).Val()
			for _, id := range ids {
				rdb.ZRem(context.Background(), a.name("index"), id)
				rdb.Del(context.Background(), a.name(id))
			}
		}
	}
	moved.Store(1)
	b := redisStore(t, pausingClient{narrowClient{srv.Client()}, move}, Options{})
	const keys = pageSize * 2
	var states []func() hold.Snapshot
	for i := range keys {
		key := fmt.Sprint("https://", i, ".example.com")
		states = append(states, follow(t, b, key))
		tell(t, a, key, heldFor(time.Duration(100+i)*time.Second))
	}
	held := func() (n int) {
		for _, state := range states[10:] {
			if s := state(); s.Phase == hold.Held {
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

func TestKeysBeyondTheMirrorAreNotForgottenByOthers(t *testing.T) {
	srv := redistest.Start(t)
	s := redisStore(t, srv.Client(), Options{})
	for i := range mirror.MaxRecords {
		s.mirror.Put(strconv.Itoa(i), hold.Snapshot{Phase: hold.Held, Until: time.Now().Add(time.Minute), Version: 1}, false)
	}
	other := redisStore(t, srv.Client(), Options{})
	// What is in use here has its place, however many others there are.
	state := follow(t, s, "https://api.example.com")
	tell(t, other, "https://api.example.com", heldFor(time.Minute))
	eventually(t, "a key in use is shared", func() bool { return state().Phase == hold.Held })
	for i := range 100 {
		tell(t, other, fmt.Sprint("https://", i, ".example.com"), heldFor(time.Minute))
	}
	time.Sleep(50 * time.Millisecond)
	if n := s.mirror.Len(); n > mirror.MaxRecords+1 {
		t.Errorf("the mirror has %d records, want %d at most and one in use", n, mirror.MaxRecords)
	}
}

// checkState checks what was believed of a message.
func checkState(t *testing.T, s hold.Snapshot, maxHold time.Duration) {
	if left := time.Until(s.Until); left > maxHold {
		t.Errorf("held for %v, and MaxHold is %v", left, maxHold)
	}
	if s.Phase < hold.Healthy || s.Phase > hold.Rationed || !(s.Rate >= 0 && s.Rate < 1e15) || s.Level < 0 || s.Attempts < 0 || s.Status < 0 || s.Witnesses < 0 ||
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
		s := &Store{opts: Options{MaxHold: time.Minute}}
		if answer, snap, err := s.decodeReply(reply); err == nil {
			checkState(t, snap.state, time.Minute)
			if n := answer.Snapshot.Permits; n < 0 || n > hold.MaxPermits {
				t.Errorf("%d permits", n)
			}
			if answer.Decide { // whatever is in the record, a decision can be made
				hold.Advance(answer.Record, hold.Report{Want: 1, Lease: time.Second}, answer.Now, time.Minute, jitter.Uniform)
			}
		}
		if snap, ok := decodeSnapshot(reply, time.Minute); ok {
			checkState(t, snap.state, time.Minute)
		}
		if m, ok := decodeMeta(reply); ok {
			if m.seq >= 1<<seqBits {
				t.Errorf("seq %d", m.seq)
			}
			if ids := decodeIDs(reply); slices.ContainsFunc(ids, func(id string) bool { return len(id) != 32 }) {
				t.Errorf("ids %q", ids)
			}
		}
	})
}

// Records that have expired do not keep new ones out.
func TestExpiredRecordsMakeRoom(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, Options{})
	fill := func(at time.Time) {
		members := make([]redis.Z, MaxRecords)
		for i := range members {
			members[i] = redis.Z{Score: float64(at.UnixMilli()), Member: fmt.Sprintf("%032x", i)}
		}
		for part := range slices.Chunk(members, 4096) {
			if err := rdb.ZAdd(t.Context(), s.name("index"), part...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	hint := hold.Report{Hint: 5 * time.Second, ServerDirected: true, Status: 429}
	fill(time.Now().Add(time.Hour))
	if _, err := exchange(s, "http://h.example", hint); !errors.Is(err, errFull) {
		t.Errorf("got %v where the index is full, want %v", err, errFull)
	}
	fill(time.Now().Add(-time.Minute))
	if state, err := exchange(s, "http://h.example", hint); err != nil || state.Phase != hold.Held {
		t.Errorf("got %v, %v where all others have expired; want it held", state.Phase, err)
	}
}
