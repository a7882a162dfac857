package redisstore

import (
	"context"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// onRedisAndCluster runs a test on one Redis, and on a Cluster of three. Two databases
// are a matter of one Redis alone: a Cluster has one.
func onRedisAndCluster(t *testing.T, test func(t *testing.T, client func() redis.UniversalClient)) {
	t.Run("one Redis", func(t *testing.T) {
		srv := redistest.Start(t)
		test(t, func() redis.UniversalClient { return srv.Client() })
	})
	t.Run("a Cluster", func(t *testing.T) {
		if testing.Short() {
			t.Skip("starts three servers")
		}
		cluster := redistest.StartCluster(t, 3)
		test(t, func() redis.UniversalClient { return cluster.Client() })
	})
}

// servers calls f for each server behind a client.
func servers(t testing.TB, rdb redis.UniversalClient, f func(*redis.Client)) {
	t.Helper()
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		f(rdb.(*redis.Client))
		return
	}
	var mu sync.Mutex
	err := cluster.ForEachMaster(t.Context(), func(_ context.Context, one *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		f(one)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func flush(t testing.TB, rdb redis.UniversalClient) {
	t.Helper()
	servers(t, rdb, func(one *redis.Client) { one.FlushAll(t.Context()) })
}

// scripts returns how many scripts Redis has run.
func scripts(t testing.TB, rdb redis.UniversalClient) int {
	t.Helper()
	n := 0
	servers(t, rdb, func(one *redis.Client) {
		for _, m := range regexp.MustCompile(`cmdstat_eval(?:sha)?:calls=(\d+),[^\r]*failed_calls=(\d+)`).FindAllStringSubmatch(one.Info(t.Context(), "commandstats").Val(), -1) {
			calls, _ := strconv.Atoi(m[1])
			failed, _ := strconv.Atoi(m[2])
			n += calls - failed
		}
	})
	return n
}

// quiet waits until no store has anything left to read.
func quiet(t testing.TB, rdb *redis.Client) {
	t.Helper()
	last, since := -1, time.Now()
	for time.Since(since) < 300*time.Millisecond {
		if n := scripts(t, rdb); n != last {
			last, since = n, time.Now()
		}
		time.Sleep(10 * time.Millisecond)
	}
}
