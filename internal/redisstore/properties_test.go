package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func TestReport_HintCostsOneScriptAndIsAMaximum(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, Options{PollInterval: time.Hour})
	other := redisStore(t, srv.Client(), Options{PollInterval: time.Hour})
	state := follow(t, other, "k")
	quiet(t, rdb)
	before := scripts(t, rdb)
	told := tell(t, s, "k", heldFor(time.Minute))
	eventually(t, "the other is held", func() bool { return state().Phase == hold.Held })
	if n := scripts(t, rdb) - before; n != 1 {
		t.Errorf("a hint cost %d scripts, want 1", n)
	}
	for _, d := range []time.Duration{time.Minute, 10 * time.Second, time.Second} { // again, and shorter ones
		tell(t, s, "k", heldFor(d))
	}
	if grown := state().Until.Sub(told.Until); grown > time.Second || grown < -time.Second {
		t.Errorf("the hold has moved by %v, want it at the longest hint's end", grown)
	}
}

// At the end of a hold every replica of a large fleet asks at once. One decides.
// The others learn of it, or ask once more.
func TestReport_ThousandReplicasMakeOneDecision(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	s := redisStore(t, rdb, Options{Timeout: 5 * time.Second})
	held := tell(t, s, "k", heldFor(200*time.Millisecond))
	watch := follow(t, s, "k")
	time.Sleep(time.Until(held.Until))
	var reports, commits, probes atomic.Int64
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			time.Sleep(jitter.Uniform(20 * time.Millisecond))
			r := hold.Report{Replica: fmt.Sprint("replica", i), Want: 1, Lease: 10 * time.Second, Version: hold.Version}
			for watch().Phase == hold.Held {
				reports.Add(1)
				r.Call++
				reply, err := s.Report(context.Background(), "k", r)
				if err != nil {
					t.Error(err)
					return
				}
				if reply.Decide {
					commits.Add(1)
					if reply, err = s.Commit(context.Background(), "k", hold.Advance(reply.Record, r, reply.Now, reply.MaxHold, jitter.Uniform)); err != nil {
						t.Error(err)
					}
				}
				probes.Add(int64(reply.Snapshot.Permits))
				if !reply.Due {
					return
				}
				time.Sleep(5*time.Millisecond + jitter.Uniform(20*time.Millisecond))
			}
		})
	}
	wg.Wait()
	t.Logf("%d reports and %d decisions of 1,000 replicas", reports.Load(), commits.Load()) // more on a slow machine
	if probes.Load() != 1 {
		t.Errorf("%d probes were granted, want 1", probes.Load())
	}
	round := fields{rest: rdb.HGet(t.Context(), s.name(idOf("k")), "round").Val()}
	if rev := round.next(); rev != 1 {
		t.Errorf("%d decisions were committed, want 1", rev)
	}
}

// A clock that is set back lengthens no hold beyond its own length, starves no
// paced key for longer than a round, and what is corrected is written.
func TestClock_SetBackKeepsTheLengthOfARound(t *testing.T) {
	onRedisAndCluster(t, checkClockSetBackKeepsTheLengthOfARound)
}

func checkClockSetBackKeepsTheLengthOfARound(t *testing.T, client func() redis.UniversalClient) {
	for _, step := range []time.Duration{30 * time.Second, 20 * time.Minute} {
		rdb := client()
		flush(t, rdb)
		r := newRegister(t, rdb, 1_700_000_000_000)
		report := func(rep hold.Report) hold.Reply {
			rep.Version, rep.Lease = hold.Version, time.Second
			reply, _ := r.run(r.report, r.store.reportArgs(idOf(registerKey), registerKey, rep))
			if reply.Decide {
				d := hold.Advance(reply.Record, rep, reply.Now, reply.MaxHold, jitter.Uniform)
				reply, _ = r.run(r.commit, r.store.commitArgs(idOf(registerKey), registerKey, d))
			}
			return reply
		}
		left := func() time.Duration {
			record := r.stored()
			return time.Duration(max(record.Until, record.HintUntil)-hold.Millis(r.now)) * time.Millisecond
		}

		report(hold.Report{Hint: 3 * time.Second, ServerDirected: true, Status: 429})
		r.now += 1000 - step.Milliseconds()
		if report(hold.Report{Want: 1}); left() > 3100*time.Millisecond {
			t.Errorf("%v back: a hold of 3 s lasts %v more, and is stored so", step, left())
		}
		for range 31 {
			r.now += 100
			report(hold.Report{Want: 1})
		}
		if p := r.stored().Phase; p != hold.Probing {
			t.Errorf("%v back: the key is %v 3.1 s later, want probing", step, p)
		}

		flush(t, rdb)
		reply := report(hold.Report{Refusals: 1})
		report(hold.Report{Generation: reply.Snapshot.Generation, Good: 50, Refused: 20, Status: 429})
		r.now += 501
		if reply = report(hold.Report{Want: 5, Patience: time.Second}); reply.Snapshot.Phase != hold.Paced || reply.Snapshot.Permits != 5 {
			t.Fatalf("got %+v, want a paced key and 5 permits", reply.Snapshot)
		}
		r.now -= step.Milliseconds()
		report(hold.Report{Want: 200, Patience: time.Second})
		r.now += 120 // a round of ten sends at 100 per second, and a little
		if reply = report(hold.Report{Want: 5, Patience: 2 * time.Second}); reply.Snapshot.Permits == 0 || time.Until(reply.Snapshot.First) > 1200*time.Millisecond {
			t.Errorf("%v back: a paced key grants nothing after a round: %+v", step, reply.Snapshot)
		}
	}
}

// Whoever may publish, but not read keys, changes nothing, and costs a poll a second.
func TestListen_ForgedMessagesChangeNothing(t *testing.T) {
	onRedisAndCluster(t, checkListenForgedMessagesChangeNothing)
}

func checkListenForgedMessagesChangeNothing(t *testing.T, client func() redis.UniversalClient) {
	rdb := client()
	a := redisStore(t, rdb, Options{PollInterval: time.Hour})
	b := redisStore(t, client(), Options{PollInterval: time.Hour})
	healthy, held := follow(t, b, "healthy"), follow(t, b, "held")
	var genuine atomic.Value
	sub := rdb.Subscribe(t.Context(), a.name("changes"))
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() {
		for m := range sub.Channel() {
			if genuine.Load() == nil {
				genuine.Store(m.Payload)
			}
		}
	}()
	tell(t, a, "held", heldFor(time.Minute))
	eventually(t, "the hold is known, and was seen on the channel", func() bool { return held().Phase == hold.Held && genuine.Load() != nil })
	payload := genuine.Load().(string)
	mac, text, _ := strings.Cut(payload, " ")
	forHealthy := strings.Replace(strings.Replace(text, idOf("held"), idOf("healthy"), 1), " held", " healthy", 1)
	before := scripts(t, rdb)
	begun := time.Now()
	for range 500 {
		for _, forged := range []string{
			text, "0 " + text, mac + " " + forHealthy, mac + " " + strings.Replace(text, "held", "healthy", 1),
			mac + " " + text + " ", mac, "", payload, // the last is genuine, and old
		} {
			rdb.Publish(t.Context(), a.name("changes"), forged)
		}
	}
	time.Sleep(300 * time.Millisecond)
	if p := healthy().Phase; p != hold.Healthy {
		t.Errorf("a forged message made a key %v", p)
	}
	if p := held().Phase; p != hold.Held {
		t.Errorf("a forged message made a held key %v", p)
	}
	if n, most := scripts(t, rdb)-before, 4*(2+int(time.Since(begun)/doubtInterval)); n > most {
		t.Errorf("forged messages cost %d scripts, want %d at most", n, most)
	}
	// What is genuine is still heard, after all that.
	next := follow(t, b, "next")
	tell(t, a, "next", heldFor(time.Minute))
	eventually(t, "the next hold is known", func() bool { return next().Phase == hold.Held })
}

// Publications cross the databases of one Redis. Keys do not, and so holds must not. A
// Cluster has one database only, so this has no counterpart there.
func TestListen_DatabasesOfOneRedisDoNotMix(t *testing.T) {
	srv := redistest.Start(t)
	open := func(db int) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: srv.Addr, DB: db})
		t.Cleanup(func() { c.Close() })
		return c
	}
	production, staging := redisStore(t, open(0), Options{PollInterval: 100 * time.Millisecond}), redisStore(t, open(1), Options{})
	tell(t, production, "warm", heldFor(time.Second))
	state := follow(t, production, "k")
	for range 20 {
		tell(t, staging, "k", heldFor(time.Minute))
		tell(t, staging, fmt.Sprint("k", rand.IntN(100)), heldFor(time.Minute))
		time.Sleep(20 * time.Millisecond)
	}
	if p := state().Phase; p != hold.Healthy {
		t.Errorf("a hold of the other database made a key %v", p)
	}
	if n := open(0).Exists(t.Context(), production.name(idOf("k"))).Val(); n != 0 {
		t.Error("a hold of the other database was written into this one")
	}
}

func TestMeta_DamageIsRepaired(t *testing.T) { onRedisAndCluster(t, checkMetaDamageIsRepaired) }

func checkMetaDamageIsRepaired(t *testing.T, client func() redis.UniversalClient) {
	rdb := client()
	for name, damage := range map[string]func(meta string) error{
		"no number":    func(m string) error { return rdb.HSet(t.Context(), m, "seq", "abc").Err() },
		"too large":    func(m string) error { return rdb.HSet(t.Context(), m, "seq", 1<<41).Err() },
		"negative":     func(m string) error { return rdb.HSet(t.Context(), m, "seq", -1).Err() },
		"no epoch":     func(m string) error { return rdb.HDel(t.Context(), m, "epoch").Err() },
		"no secret":    func(m string) error { return rdb.HDel(t.Context(), m, "secret").Err() },
		"another type": func(m string) error { rdb.Del(t.Context(), m); return rdb.Set(t.Context(), m, "x", 0).Err() },
	} {
		t.Run(name, func(t *testing.T) {
			opts := Options{Namespace: strings.ReplaceAll(name, " ", "-"), PollInterval: 100 * time.Millisecond}
			a, b := redisStore(t, rdb, opts), redisStore(t, client(), opts)
			first, second := follow(t, b, "first"), follow(t, b, "second")
			tell(t, a, "first", heldFor(time.Minute))
			eventually(t, "the first hold is shared", func() bool { return first().Phase == hold.Held })
			if err := damage(a.name("meta")); err != nil {
				t.Fatal(err)
			}
			tell(t, a, "second", heldFor(time.Minute))
			eventually(t, "the next hold is shared", func() bool { return second().Phase == hold.Held })
			if first().Phase != hold.Held {
				t.Error("the first hold is forgotten")
			}
		})
	}
}

func TestRecord_DamageIsSurvived(t *testing.T) { onRedisAndCluster(t, checkRecordDamageIsSurvived) }

func checkRecordDamageIsSurvived(t *testing.T, client func() redis.UniversalClient) {
	rdb := client()
	s := redisStore(t, rdb, Options{})
	const rounds, counts = 22, 22 // numbers
	damages := [][]any{
		{"round", "garbage"}, {"round", strings.Repeat("9", 4000)}, {"round", "12 3 paced"}, {"counts", "x"}, {"counts", strings.Repeat("9", 4000)},
		{"round", strings.Repeat("\xff", packedSize*rounds)}, {"counts", strings.Repeat("\xff", packedSize*counts)},
		{"round", ""}, {"counts", ""}, {"witnesses", strings.Repeat("r:1,", 1000)}, {"witnesses", ",:,a:,:1,\x00"},
		{"memory", "{"}, {"memory", `{"rate":1e300,"level":-5,"length":9e18,"reset":9e15}`}, {"memory", strings.Repeat("9", 1<<16)},
		{"claim", strings.Repeat("me", 4000)}, {"claim", "me 99999999999999999"}, {"attempts", "many"}, {"status", "0.5"}, {"phase", "asleep"}, {"until", "-1"},
	}
	for field, n := range map[string]int{"round": rounds, "counts": counts} {
		for i := range n {
			for _, value := range []int64{0, 7, 1 << 31, maxPacked} {
				numbers := slices.Repeat([]int64{1}, n)
				if field == "round" {
					numbers[2] = int64(hold.Paced)
				}
				numbers[i] = value
				damages = append(damages, []any{field, pack(numbers...)})
			}
		}
	}
	for i, damage := range damages {
		key := fmt.Sprint("k", i)
		state := tell(t, s, key, hold.Report{Refusals: 1})
		tell(t, s, key, hold.Report{Generation: state.Generation, Good: 5, Refused: 5, Status: 429})
		if err := rdb.HSet(t.Context(), s.name(idOf(key)), damage...).Err(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			checkState(t, tell(t, s, key, hold.Report{Want: 2, Good: 1}), s.opts.MaxHold)
		}
		if state = tell(t, s, key, heldFor(time.Minute)); state.Phase != hold.Held {
			t.Errorf("after %q: %v, want a hint to hold the key", damage, state.Phase)
		}
	}
}
