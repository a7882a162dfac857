package redisstore

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// deployment is one server, or a Cluster.
type deployment struct {
	client func() redis.UniversalClient
	nodes  []*redis.Client
}

// eachDeployment runs test on one server, and on a Cluster of three masters.
func eachDeployment(t *testing.T, test func(t *testing.T, d deployment)) {
	t.Run("one server", func(t *testing.T) {
		srv := redistest.Start(t)
		test(t, deployment{client: func() redis.UniversalClient { return srv.Client() }, nodes: []*redis.Client{srv.Client()}})
	})
	t.Run("a Cluster", func(t *testing.T) {
		if testing.Short() {
			t.Skip("a Cluster takes a while")
		}
		cluster := redistest.StartCluster(t, 3)
		d := deployment{client: func() redis.UniversalClient { return cluster.Client() }}
		for _, node := range cluster.Nodes {
			d.nodes = append(d.nodes, node.Client())
		}
		test(t, d)
	})
}

// scripts returns how many scripts the servers have run.
func scripts(t testing.TB, servers ...*redis.Client) int {
	t.Helper()
	n := 0
	for _, rdb := range servers {
		for _, m := range regexp.MustCompile(`cmdstat_eval(?:sha)?:calls=(\d+),[^\r]*failed_calls=(\d+)`).FindAllStringSubmatch(rdb.Info(t.Context(), "commandstats").Val(), -1) {
			calls, _ := strconv.Atoi(m[1])
			failed, _ := strconv.Atoi(m[2])
			n += calls - failed
		}
	}
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
