package redisstore

import (
	"context"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// splitClient has one way for scripts, and another for the subscription.
type splitClient struct {
	Client
	sub redis.UniversalClient
}

func (c splitClient) Subscribe(ctx context.Context, channels ...string) *redis.PubSub {
	return c.sub.Subscribe(ctx, channels...)
}

func dial(t *testing.T, addr string) redis.UniversalClient {
	c := redis.NewClient(&redis.Options{Addr: addr, DialTimeout: time.Second})
	t.Cleanup(func() { c.Close() })
	return c
}

// A subscription that is lost, and can't be made again, is not trusted for as long as the
// last heartbeat allows: its replica polls at once.
func TestRest_LostSubscriptionFindsHoldsByPolls(t *testing.T) {
	srv := redistest.Start(t)
	for name, lose := range map[string]func(p *redistest.Proxy){
		"cut and refused": func(p *redistest.Proxy) { p.To("127.0.0.1:1"); p.Cut() },
		"cut and silent":  func(p *redistest.Proxy) { p.BlackHole(true); p.Cut() },
		"silent":          func(p *redistest.Proxy) { p.BlackHole(true) },
	} {
		t.Run(name, func(t *testing.T) {
			proxy := redistest.StartProxy(t, srv.Addr)
			var polls polls
			opts := Options{PollInterval: minPoll, Namespace: idOf(name)}
			other := redisStore(t, srv.Client(), opts)
			s := redisStore(t, splitClient{polls.client(srv.Client()), dial(t, proxy.Addr)}, opts)
			eventually(t, "the subscription is trusted", func() bool { return trusts(s) })
			lose(proxy)
			eventually(t, "the subscription is not trusted", func() bool { return !trusts(s) })
			before := polls.n()
			eventually(t, "it polls at each interval", func() bool { return polls.n() >= before+2*restPolls })
			state := follow(t, s, "k")
			tell(t, other, "k", heldFor(time.Minute))
			eventually(t, "a poll finds the hold", func() bool { return state().Phase == hold.Held })
			proxy.BlackHole(false)
			proxy.To(srv.Addr)
			eventually(t, "another subscription is trusted", func() bool { return trusts(s) })
		})
	}
}

// The master that failed may go on without the others, and answer whoever asks it, a PING
// as well. What is published elsewhere does not come from it.
func TestRest_SubscriptionOfAnOldMasterIsNotTrusted(t *testing.T) {
	old, promoted := redistest.Start(t), redistest.Start(t)
	promoted.Follow(old.Addr)
	commands, subscription := redistest.StartProxy(t, old.Addr), redistest.StartProxy(t, old.Addr)
	opts := Options{PollInterval: minPoll}
	s := redisStore(t, splitClient{dial(t, commands.Addr), dial(t, subscription.Addr)}, opts)
	eventually(t, "the subscription is trusted", func() bool { return trusts(s) })
	promoted.Promote()
	subscription.To(promoted.Addr) // for another subscription: this one goes on
	commands.To(promoted.Addr)
	commands.Cut()
	other := redisStore(t, promoted.Client(), opts)
	state := follow(t, s, "k")
	tell(t, other, "k", heldFor(time.Minute))
	eventually(t, "a poll finds the hold", func() bool { return state().Phase == hold.Held })
	eventually(t, "a subscription of the new master is trusted", func() bool {
		return trusts(s) && promoted.Client().PubSubNumSub(t.Context(), s.name("changes")).Val()[s.name("changes")] == 2
	})
}

// Redis closes the connection of a subscriber that does not keep up.
func TestRest_FullOutputBufferIsFound(t *testing.T) {
	srv := redistest.Start(t, "--client-output-buffer-limit", "pubsub 64kb 64kb 1")
	proxy := redistest.StartProxy(t, srv.Addr)
	opts := Options{PollInterval: minPoll}
	other := redisStore(t, srv.Client(), opts)
	s := redisStore(t, splitClient{srv.Client(), dial(t, proxy.Addr)}, opts)
	eventually(t, "the subscription is trusted", func() bool { return trusts(s) })
	proxy.Set(redistest.Faults{StallReplies: true})
	state := follow(t, s, "k")
	tell(t, other, "k", heldFor(time.Minute))
	big := make([]byte, 1<<20)
	eventually(t, "Redis has closed the subscription", func() bool {
		srv.Client().Publish(t.Context(), s.name("changes"), big)
		return srv.Client().PubSubNumSub(t.Context(), s.name("changes")).Val()[s.name("changes")] == 1
	})
	eventually(t, "a poll finds the hold", func() bool { return state().Phase == hold.Held })
	proxy.Set(redistest.Faults{})
	eventually(t, "another subscription is trusted", func() bool { return trusts(s) })
}

// Messages that come say nothing about the way of the commands: a replica that only
// receives asks now and then, and one that gets no answer asks at each interval.
func TestRest_ReceivingReplicaLooksWhetherRedisAnswers(t *testing.T) {
	srv := redistest.Start(t)
	proxy := redistest.StartProxy(t, srv.Addr)
	var polls polls
	opts := Options{PollInterval: minPoll}
	other := redisStore(t, srv.Client(), opts)
	s := redisStore(t, splitClient{polls.client(dial(t, proxy.Addr)), srv.Client()}, opts)
	news := make(chan struct{})
	defer close(news)
	go func() { // so that it receives something all the time, and no heartbeat is due
		for i := 0; ; i++ {
			select {
			case <-news:
				return
			case <-time.After(minPoll):
				other.Report(t.Context(), "busy", hold.Report{Hint: time.Minute + time.Duration(i)*time.Second, ServerDirected: true, Status: 429})
			}
		}
	}()
	eventually(t, "the subscription is trusted", func() bool { return trusts(s) })
	before := polls.n()
	eventually(t, "it polls now and then", func() bool { return polls.n() > before })
	proxy.Set(redistest.Faults{LoseReplies: true})
	eventually(t, "Redis is away", func() bool { return s.Err() != nil })
	proxy.Set(redistest.Faults{})
	proxy.Cut()
	eventually(t, "Redis is back", func() bool { return s.Err() == nil })
}
