package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// Random faults follow each other for as long as HOLDOFF_SOAK says, in an order
// that HOLDOFF_SOAK_SEED repeats, and what must always be true is looked at all
// the time.
func TestSoak(t *testing.T) {
	wanted(t)
	t.Parallel()
	begin(t)
	lasts, err := time.ParseDuration(os.Getenv("HOLDOFF_SOAK"))
	if err != nil {
		lasts = 10 * time.Second
	}
	seed, err := strconv.ParseUint(os.Getenv("HOLDOFF_SOAK_SEED"), 10, 64)
	if err != nil {
		seed = 1
	}
	random := rand.New(rand.NewPCG(seed, seed))

	f := &field{srv: redistest.Start(t)}
	f.proxy = redistest.StartProxy(t, f.srv.Addr)
	f.admin = redis.NewClient(&redis.Options{Addr: f.srv.Addr})
	t.Cleanup(func() { f.admin.Close() })
	f.rig = newRig(t, fleetSize, func(int) redis.UniversalClient { return redis.NewClient(&redis.Options{Addr: f.proxy.Addr}) })
	f.origin.answersAfter(held, 15*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	f.measure()
	time.Sleep(time.Second)
	before := f.measure()

	network := func(faults redistest.Faults) [2]func() {
		return [2]func(){func() { f.proxy.Set(faults) }, func() {
			f.proxy.Set(redistest.Faults{})
			f.proxy.Cut()
		}}
	}
	faults := []struct {
		name string
		do   [2]func() // harm and heal
	}{
		{"killed", [2]func(){f.srv.Kill, f.srv.Restart}},
		{"stopped", [2]func(){f.srv.Pause, f.srv.Continue}},
		{"black hole", [2]func(){func() { f.proxy.BlackHole(true) }, func() { f.proxy.BlackHole(false) }}},
		{"late", network(redistest.Faults{Delay: time.Second})},
		{"a little late", network(redistest.Faults{Delay: 60 * time.Millisecond})},
		{"replies lost", network(redistest.Faults{LoseReplies: true})},
		{"requests lost", network(redistest.Faults{LoseRequests: true})},
		{"stalled", network(redistest.Faults{StallReplies: true})},
		{"subscription lost", network(redistest.Faults{LoseReplies: true, OnlySubscribed: true})},
		{"cut", [2]func(){f.proxy.Cut, f.proxy.Cut}},
		{"flushed", [2]func(){func() { f.do("FLUSHALL") }, func() { f.do("SCRIPT", "FLUSH") }}},
		{"read only", [2]func(){func() { f.do("REPLICAOF", "127.0.0.1", "1") }, func() { f.do("REPLICAOF", "NO", "ONE") }}},
		{"full", [2]func(){func() { f.do("CONFIG", "SET", "maxmemory", "1mb") }, func() { f.do("CONFIG", "SET", "maxmemory", "0") }}},
		{"no scripts", [2]func(){func() { f.do("ACL", "SETUSER", "default", "-@scripting") }, func() { f.do("ACL", "SETUSER", "default", "+@scripting") }}},
	}

	rounds, probed := 0, 0
	for end := time.Now().Add(lasts); time.Now().Before(end) && !t.Failed(); rounds++ {
		what := faults[random.IntN(len(faults))]
		length := 200*time.Millisecond + time.Duration(random.Int64N(int64(3*time.Second)))
		after := time.Duration(random.Int64N(int64(time.Second)))
		t.Logf("round %d: %s for %v", rounds, what.name, length.Round(time.Millisecond))
		f.origin.refuse(held, longHint+after) // before or in the fault
		f.origin.refuse(fmt.Sprintf("long-%d.example", rounds), time.Hour)
		what.do[0]()
		time.Sleep(length)
		for _, rep := range f.replicas[:2] {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			rep.get(ctx, fmt.Sprintf("long-%d.example", rounds))
			cancel()
		}
		what.do[1]()
		f.tell(f.replicas[rounds%fleetSize], 15*time.Second)
		f.checkAlways()
		if rounds%3 == 2 && f.probeOnce() {
			probed++
		}
	}
	f.compare(before, f.measure(), "all the time")
	t.Logf("MEASURED soak of %v with seed %d: %d rounds, %d probes were looked at", lasts, seed, rounds, probed)
}

// checkAlways looks at what must be true at any time.
func (f *field) checkAlways() {
	t := f.t
	t.Helper()
	for _, rep := range f.replicas {
		if n := rep.early.Load(); n > 0 {
			f.timing("%s sent %d requests before the end of a hint that it had got", rep.name, n)
		}
	}
	f.checkHolds()
	f.checkTransitions()
	ctx := context.Background()
	for keys := f.admin.Scan(ctx, 0, keySpace+"*", 100).Iterator(); keys.Next(ctx); {
		if ttl, err := f.admin.PTTL(ctx, keys.Val()).Result(); err == nil && ttl == -1 {
			t.Errorf("%s has no TTL", keys.Val())
		}
	}
	f.checkGoroutines(f.goroutines())
}

// probeOnce has a hold begin and end while nothing is wrong, and looks whether
// one request of the whole fleet goes first. It reports whether that could be
// seen: a machine that sleeps may be longer about a probe than its lease.
func (f *field) probeOnce() bool {
	t := f.t
	t.Helper()
	f.wait("the held key gets well", 15*time.Second, func() bool {
		return f.all(func(rep *replica) bool { return rep.look(held).Phase == holdoff.Healthy })
	})
	until := f.hold(longHint + 500*time.Millisecond)
	f.wait("the hold is shared", 5*time.Second, func() bool {
		return f.all(func(rep *replica) bool { k := rep.look(held); return k.Phase != holdoff.Held || k.Shared })
	})
	quiet := time.Now().Add(slack)
	before := time.Duration(f.worst.Swap(0))
	defer func() { f.worst.Store(max(f.worst.Load(), int64(before))) }()
	var first hit
	f.wait("the hold ends", 15*time.Second, func() bool {
		for _, h := range f.origin.between(held, until, time.Now()) {
			if h.status == http.StatusOK {
				first = h
				return true
			}
		}
		return false
	})
	time.Sleep(50 * time.Millisecond)
	if time.Duration(f.worst.Load()) > 20*time.Millisecond {
		return false
	}
	if early := f.origin.between(held, quiet, until); len(early) > 0 && until.Sub(early[0].at) > slack {
		t.Errorf("%d requests were sent in a hold that all knew", len(early))
	}
	if probes := f.origin.between(held, until.Add(-slack), first.at.Add(14*time.Millisecond)); len(probes) > 1 && probes[0].at.After(quiet) {
		t.Errorf("%d requests were sent before the first was answered: %v", len(probes), probes)
	}
	return true
}
