package storetest

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

func TestRedisStore_KeepsTheRules(t *testing.T) {
	srv := redistest.Start(t)
	Run(t, func(t *testing.T) (a, b holdoff.Store) {
		return redisStore(t, srv.Client()), redisStore(t, srv.Client())
	})
	expires(t, srv.Client())
}

func TestRedisStore_KeepsTheRulesOnACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("a Cluster takes a while")
	}
	cluster := redistest.StartCluster(t, 3)
	Run(t, func(t *testing.T) (a, b holdoff.Store) {
		return redisStore(t, cluster.Client()), redisStore(t, cluster.Client())
	})
	for _, node := range cluster.Nodes {
		expires(t, node.Client())
	}
}

// redisStore makes a store that is closed at the end of the test.
func redisStore(t *testing.T, client holdoff.RedisClient) holdoff.Store {
	t.Helper()
	s, err := holdoff.NewRedisStore(client, holdoff.RedisOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Err(); err != nil {
			t.Errorf("after the rules: %v", err)
		}
		s.Close()
	})
	return s
}

// expires checks that whatever the rules left in Redis expires by itself.
func expires(t *testing.T, rdb *redis.Client) {
	t.Helper()
	keys := rdb.Scan(t.Context(), 0, "*", 1000).Iterator()
	for keys.Next(t.Context()) {
		if ttl, err := rdb.PTTL(t.Context(), keys.Val()).Result(); err != nil || ttl == -1 {
			t.Errorf("%s never expires (%v, %v)", keys.Val(), ttl, err)
		}
	}
	if err := keys.Err(); err != nil {
		t.Error(err)
	}
}
