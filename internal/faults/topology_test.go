package faults

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// A replica that missed the last writes is promoted. The fleet tells it again
// what it lost, though the sequence goes back and the epoch stays.
func TestPromotionWithLostWrites(t *testing.T) {
	wanted(t)
	t.Parallel()
	begin(t)
	master, second := redistest.Start(t), redistest.Start(t)
	link := redistest.StartProxy(t, master.Addr) // between the two
	proxy := redistest.StartProxy(t, master.Addr)
	r := newRig(t, fleetSize, func(int) redis.UniversalClient { return redis.NewClient(&redis.Options{Addr: proxy.Addr}) })
	r.tell(r.replicas[0], 5*time.Second) // so that there is an epoch
	second.Follow(link.Addr)
	r.run(fault{
		mute: true,
		harm: func() {
			link.Set(redistest.Faults{LoseReplies: true})
			for i := range 20 {
				r.tell(r.replicas[i%fleetSize], 5*time.Second) // the replica never hears of these
			}
			master.Kill()
			second.Promote()
			proxy.To(second.Addr)
		},
		afterHeal: func() {
			client := second.Client()
			r.wait("what was lost is told again", 10*time.Second, func() bool {
				n, _ := client.ZCard(context.Background(), keySpace+"index").Result()
				return n >= 22
			})
			for i := range r.hosts {
				host := fmt.Sprintf("told-%d.example", i+1)
				for _, rep := range r.replicas {
					if k := rep.look(host); k.Phase != holdoff.Held {
						t.Errorf("%s has forgotten the hold of %s: %+v", rep.name, host, k)
					}
				}
			}
		},
	})
}

// Three sentinels promote the replica of a master that was killed.
func TestSentinelFailover(t *testing.T) {
	wanted(t)
	t.Parallel()
	begin(t)
	s := redistest.StartSentinel(t)
	r := newRig(t, fleetSize, func(int) redis.UniversalClient {
		return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.Name, SentinelAddrs: s.Addrs})
	})
	r.run(fault{mute: true, lasts: 8 * time.Second, harm: s.Master.Kill, heal: s.AwaitFailover})
}

// The slot of our keys moves to another node of the Cluster, under load.
func TestClusterSlotMigration(t *testing.T) {
	wanted(t)
	t.Parallel()
	begin(t)
	c := redistest.StartCluster(t, 3)
	r := newRig(t, fleetSize, func(int) redis.UniversalClient { return clusterClient(c) })
	r.run(fault{mute: true, sharing: 10 * time.Second, lasts: 6 * time.Second, harm: func() {
		from, to, slot := owner(t, c)
		migrate(t, c, from, to, slot)
	}})
}

// The node that has our keys is gone for a while, and comes back without data.
func TestClusterNodeDown(t *testing.T) {
	wanted(t)
	t.Parallel()
	begin(t)
	c := redistest.StartCluster(t, 3)
	r := newRig(t, fleetSize, func(int) redis.UniversalClient { return clusterClient(c) })
	from, _, _ := owner(t, c)
	r.run(fault{mute: true, lasts: 5 * time.Second, harm: from.Kill, heal: func() {
		from.Restart()
		for _, node := range c.Nodes {
			node.Await("cluster", "cluster_enabled:1")
		}
		client := clusterClient(c)
		defer client.Close()
		r.wait("the Cluster takes writes", 20*time.Second, func() bool {
			return client.Set(context.Background(), keySpace+"test", 1, time.Second).Err() == nil
		})
	}})
}

func clusterClient(c *redistest.Cluster) *redis.ClusterClient {
	var addrs []string
	for _, node := range c.Nodes {
		addrs = append(addrs, node.Addr)
	}
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
}

// owner returns the node that has our slot, and another one.
func owner(t *testing.T, c *redistest.Cluster) (from, to *redistest.Server, slot int) {
	t.Helper()
	client := clusterClient(c)
	defer client.Close()
	n, err := client.ClusterKeySlot(t.Context(), keySpace).Result()
	if err != nil {
		t.Fatal(err)
	}
	node, err := client.MasterForKey(t.Context(), keySpace)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Nodes {
		if s.Addr == node.Options().Addr {
			from = s
		} else {
			to = s
		}
	}
	return from, to, int(n)
}

// migrate moves a slot as redis-cli does: key by key, while clients are asked
// to look in both places.
func migrate(t *testing.T, c *redistest.Cluster, from, to *redistest.Server, slot int) {
	t.Helper()
	ctx := context.Background()
	source, target := redis.NewClient(&redis.Options{Addr: from.Addr}), redis.NewClient(&redis.Options{Addr: to.Addr})
	defer source.Close()
	defer target.Close()
	id := func(c *redis.Client) string {
		id, err := c.ClusterMyID(ctx).Result()
		if err != nil {
			t.Error(err)
		}
		return id
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(target.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(source)).Err())
	must(source.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(target)).Err())
	for {
		keys, err := source.ClusterGetKeysInSlot(ctx, slot, 1).Result()
		must(err)
		if len(keys) == 0 || err != nil {
			break
		}
		must(source.Migrate(ctx, "127.0.0.1", strconv.Itoa(to.Port), keys[0], 0, 5*time.Second).Err())
		time.Sleep(50 * time.Millisecond) // clients meet a slot that is in two places
	}
	for _, c := range []*redis.Client{target, source} {
		must(c.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", id(target)).Err())
	}
	for _, node := range c.Nodes {
		other := redis.NewClient(&redis.Options{Addr: node.Addr})
		must(other.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", id(target)).Err())
		other.Close()
	}
}

// The fleet falls into two halves with a master each, and comes together again:
// what either half was told then holds both.
func TestPartitionThatHeals(t *testing.T) {
	wanted(t)
	t.Parallel()
	begin(t)
	one, two := redistest.Start(t), redistest.Start(t)
	left, right := redistest.StartProxy(t, one.Addr), redistest.StartProxy(t, one.Addr)
	r := newRig(t, fleetSize, func(i int) redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: []*redistest.Proxy{left, right}[i%2].Addr})
	})
	knows := func(host string, reps ...*replica) func() bool {
		return func() bool {
			for _, rep := range reps {
				if k := rep.look(host); k.Phase != holdoff.Held || !k.Shared {
					return false
				}
			}
			return true
		}
	}
	const both, onLeft, onRight = "both.example", "left.example", "right.example"
	refuse := func(host string, rep *replica, d time.Duration) {
		r.origin.refuse(host, d)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		rep.get(ctx, host)
	}
	r.run(fault{
		mute: true, lasts: 6 * time.Second,
		harm: func() {
			two.Follow(one.Addr) // its data are the same, up to here
			two.Promote()
			right.To(two.Addr)
			time.Sleep(1500 * time.Millisecond)
			refuse(onLeft, r.replicas[0], 2*time.Minute)
			refuse(onRight, r.replicas[1], 2*time.Minute)
			refuse(both, r.replicas[0], 80*time.Second)
			refuse(both, r.replicas[1], 120*time.Second)
			r.wait("a half knows what one of it was told", 5*time.Second, func() bool {
				return knows(onLeft, r.replicas[0], r.replicas[2])() && knows(onRight, r.replicas[1], r.replicas[3])()
			})
		},
		heal: func() { right.To(one.Addr) },
		afterHeal: func() {
			r.wait("both halves know what either was told", 15*time.Second, func() bool {
				return knows(onLeft, r.replicas...)() && knows(onRight, r.replicas...)()
			})
			// Each keeps what the server told itself, though the other half's
			// record is shorter.
			for i, least := range []time.Duration{20 * time.Second, 60 * time.Second} {
				if k := r.replicas[i].look(both); time.Until(k.Until) < least {
					t.Errorf("%s holds for %v only, and was told of more", r.replicas[i].name, time.Until(k.Until))
				}
			}
		},
	})
}
