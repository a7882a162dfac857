package redisstore

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// trusts reports whether the subscription of a store has proved that it is alive.
func trusts(s *Store) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.received.IsZero()
}

// polls counts the polls of stores that use its client.
type polls struct{ runs sync.Map }

func (p *polls) client(c redis.UniversalClient) Client {
	return countingClient{narrowClient{c}, &p.runs}
}

func (p *polls) n() int {
	n, ok := p.runs.Load(pollScript.Hash())
	if !ok {
		return 0
	}
	return int(n.(*atomic.Int64).Load())
}

// A fleet at rest polls as often as one replica.
func TestPoll_OneReplicaPollsForTheFleet(t *testing.T) {
	onRedisAndCluster(t, checkPollOneReplicaPollsForTheFleet)
}

func checkPollOneReplicaPollsForTheFleet(t *testing.T, client func() redis.UniversalClient) {
	var polls polls
	stores := make([]*Store, 10)
	for i := range stores {
		stores[i] = redisStore(t, polls.client(client()), Options{PollInterval: minPoll})
	}
	for _, s := range stores {
		eventually(t, "the subscription is trusted", func() bool { return trusts(s) })
	}
	before, begun := polls.n(), time.Now()
	time.Sleep(4 * restPolls * minPoll)
	periods := int(time.Since(begun)/(restPolls*minPoll)) + 1
	if n, most := polls.n()-before, periods*len(stores)/2; n > most { // 10 per store and period without heartbeats
		t.Errorf("%d replicas at rest sent %d polls in %d periods, want %d at most", len(stores), n, periods, most)
	}
}

// A link that swallows what Redis sends is not seen from its end. No change has to be
// lost before the replica polls often, and tries another subscription.
func TestPoll_SilentSubscriptionIsNotTrusted(t *testing.T) {
	srv := redistest.Start(t)
	proxy := redistest.StartProxy(t, srv.Addr)
	behind := redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { behind.Close() })
	var polls polls
	other := redisStore(t, srv.Client(), Options{PollInterval: minPoll})
	s := redisStore(t, polls.client(behind), Options{PollInterval: minPoll})
	for name, fault := range map[string]redistest.Faults{
		"replies lost":      {LoseReplies: true, OnlySubscribed: true},
		"replies stalled":   {StallReplies: true, OnlySubscribed: true},
		"all bytes stalled": {StallReplies: true, StallRequests: true, OnlySubscribed: true},
	} {
		t.Run(name, func(t *testing.T) {
			eventually(t, "the subscription is trusted", func() bool { return trusts(s) })
			proxy.Set(fault)
			eventually(t, "the subscription is not trusted", func() bool { return !trusts(s) })
			before := polls.n()
			eventually(t, "it polls at each interval", func() bool { return polls.n() >= before+2*restPolls })
			state := follow(t, s, name)
			tell(t, other, name, heldFor(time.Minute))
			eventually(t, "a poll finds a hold", func() bool { return state().Phase == hold.Held })
			if trusts(s) {
				t.Error("a subscription that delivers nothing is trusted")
			}
			proxy.Set(redistest.Faults{})
			eventually(t, "another subscription is trusted", func() bool { return trusts(s) })
		})
	}
}

// Replicas that receive nothing poll often. Each of their polls would be a message to all
// the others, if Redis did not bound the heartbeats.
func TestPoll_RedisBoundsHeartbeats(t *testing.T) {
	srv := redistest.Start(t)
	proxy := redistest.StartProxy(t, srv.Addr)
	proxy.Set(redistest.Faults{LoseReplies: true, OnlySubscribed: true})
	var polls polls
	var s *Store
	for range 10 {
		behind := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		t.Cleanup(func() { behind.Close() })
		s = redisStore(t, polls.client(behind), Options{PollInterval: minPoll})
	}
	begun := time.Now()
	eventually(t, "they poll often", func() bool { return polls.n() >= 300 })
	seq, err := srv.Client().HGet(t.Context(), s.name("meta"), "seq").Int()
	if most := 2 + int(time.Since(begun)/(restPolls*minPoll)); err != nil || seq == 0 || seq > most {
		t.Errorf("there were %d heartbeats (%v), want 1 to %d", seq, err, most)
	}
}

// FLUSHALL closes no connection. The next heartbeat has another proof.
func TestPoll_FlushIsFoundWhileTheSubscriptionLives(t *testing.T) {
	srv := redistest.Start(t)
	a, b := redisStore(t, srv.Client(), Options{PollInterval: minPoll}), redisStore(t, srv.Client(), Options{PollInterval: minPoll})
	for _, s := range []*Store{a, b} {
		eventually(t, "the subscription is trusted", func() bool { return trusts(s) })
	}
	var lost atomic.Int64
	for _, s := range []*Store{a, b} {
		t.Cleanup(s.Watch("k", func(_ string, state hold.Snapshot) {
			if state.Lost {
				lost.Add(1)
			}
		}))
	}
	state := follow(t, b, "k")
	tell(t, a, "k", heldFor(time.Minute))
	eventually(t, "the hold is shared", func() bool { return state().Phase == hold.Held })
	flush(t, srv.Client())
	eventually(t, "both know that it is lost", func() bool { return lost.Load() == 2 })
	for _, s := range []*Store{a, b} {
		eventually(t, "the subscription is trusted again", func() bool { return trusts(s) })
	}
}

// A user without the right to publish costs what a dead subscription costs, and its polls
// say nothing untrue about changes.
func TestPoll_WithoutTheRightToPublishFindsChanges(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	if err := rdb.Do(t.Context(), "ACL", "SETUSER", "mute", "on", "nopass", "~*", "&*", "+@all", "-publish").Err(); err != nil {
		t.Fatal(err)
	}
	open := func() redis.UniversalClient {
		c := redis.NewClient(&redis.Options{Addr: srv.Addr, Username: "mute", Password: "x"})
		t.Cleanup(func() { c.Close() })
		return c
	}
	var polls polls
	a, b := redisStore(t, polls.client(open()), Options{PollInterval: minPoll}), redisStore(t, polls.client(open()), Options{PollInterval: minPoll})
	eventually(t, "they poll often", func() bool { return polls.n() >= 4*restPolls })
	if seq := rdb.HGet(t.Context(), a.name("meta"), "seq").Val(); seq != "0" {
		t.Errorf("the sequence is %s without a change", seq)
	}
	state := follow(t, b, "k")
	tell(t, a, "k", heldFor(time.Minute))
	eventually(t, "a poll finds the hold", func() bool { return state().Phase == hold.Held })
}

// Any client of Redis may have written the time of the last heartbeat.
func TestPoll_DamagedHeartbeatIsReplaced(t *testing.T) {
	srv := redistest.Start(t)
	s := redisStore(t, srv.Client(), Options{PollInterval: minPoll})
	for _, beat := range []string{"x", "nan", "inf", "-inf", "99999999999999", "-1", ""} {
		srv.Client().HSet(t.Context(), s.name("meta"), "beat", beat)
		s.mu.Lock()
		s.distrust()
		s.mu.Unlock()
		eventually(t, "there is another heartbeat", func() bool {
			n, err := srv.Client().HGet(t.Context(), s.name("meta"), "beat").Int64()
			return err == nil && n > 0 && n <= time.Now().UnixMilli() && trusts(s)
		})
	}
}

// deafClient loses the answers of scripts, and not messages.
type deafClient struct {
	Client
	lost *atomic.Bool
}

func (c deafClient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := c.Client.EvalSha(ctx, sha, keys, args...)
	if c.lost.Load() {
		cmd.SetErr(context.DeadlineExceeded)
	}
	return cmd
}

// What others publish proves the subscription, and not that commands are answered.
func TestPoll_MessagesDoNotKeepAStoreAway(t *testing.T) {
	srv := redistest.Start(t)
	other := redisStore(t, srv.Client(), Options{})
	var lost atomic.Bool
	s := redisStore(t, deafClient{narrowClient{srv.Client()}, &lost}, Options{PollInterval: minPoll})
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer running.Wait()
	defer stop()
	running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			exchange(other, strconv.Itoa(i), heldFor(time.Minute))
			time.Sleep(20 * time.Millisecond)
		}
	})
	eventually(t, "the subscription is trusted", func() bool { return trusts(s) })
	lost.Store(true)
	for range awayAfter {
		exchange(s, "k", hold.Report{Refusals: 1})
	}
	if s.Err() == nil {
		t.Fatal("Redis is not away")
	}
	time.Sleep(5 * minPoll) // the poll that follows the loss of trust is over
	eventually(t, "the subscription is trusted again", func() bool { return trusts(s) })
	lost.Store(false)
	eventually(t, "Redis is back", func() bool { return s.Err() == nil })
}
