package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Follow makes the server a replica of the one at addr, and returns when it has
// its data.
func (s *Server) Follow(addr string) {
	s.t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		s.t.Fatal(err)
	}
	c := s.own()
	defer c.Close()
	if err := c.ReplicaOf(s.t.Context(), host, port).Err(); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
	s.Await("replication", "master_link_status:up")
}

// Promote makes a replica a master.
func (s *Server) Promote() {
	s.t.Helper()
	c := s.own()
	defer c.Close()
	if err := c.ReplicaOf(s.t.Context(), "NO", "ONE").Err(); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// Await waits until a section of INFO says what.
func (s *Server) Await(section, what string) {
	s.t.Helper()
	c := s.own()
	defer c.Close()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if info, _ := c.Info(s.t.Context(), section).Result(); strings.Contains(info, what) {
			return
		}
	}
	s.t.Fatalf("redistest: %s is not so after 30 s:\n%s", what, s.Log())
}

// own returns a client for what the harness itself has to say: of one
// connection, to be closed by the caller.
func (s *Server) own() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Addr, PoolSize: 1})
}

// Sentinels are a master, a replica of it, and the sentinels that watch both.
type Sentinels struct {
	Name            string // of the master, to the sentinels
	Master, Replica *Server
	Addrs           []string // of the sentinels
	t               testing.TB
}

// StartSentinel starts a master with a replica and three sentinels, which take a
// master for dead that has not answered for a second.
func StartSentinel(t testing.TB) *Sentinels {
	t.Helper()
	s := &Sentinels{Name: "main", Master: Start(t, "--repl-diskless-sync-delay", "0"), Replica: Start(t, "--repl-diskless-sync-delay", "0"), t: t}
	s.Replica.Follow(s.Master.Addr)
	for range 3 {
		// They rewrite their configuration, so that each needs a file.
		config := filepath.Join(t.TempDir(), "sentinel.conf")
		text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %[1]s 1000\n"+
			"sentinel failover-timeout %[1]s 5000\n", s.Name, s.Master.Port)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sentinel := start(t, []string{config}, "--sentinel")
		s.Addrs = append(s.Addrs, sentinel.Addr)
	}
	for _, addr := range s.Addrs {
		s.await(addr, func(master map[string]string) bool {
			return master["num-slaves"] == "1" && master["num-other-sentinels"] == "2"
		})
	}
	return s
}

func (s *Sentinels) await(addr string, holds func(master map[string]string) bool) {
	s.t.Helper()
	c := redis.NewSentinelClient(&redis.Options{Addr: addr})
	defer c.Close()
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		master, err := c.Master(ctx, s.Name).Result()
		cancel()
		if err == nil && holds(master) {
			return
		}
	}
	s.t.Fatalf("redistest: the sentinels do not agree after 40 s")
}

// AwaitFailover waits until all sentinels take the replica for the master.
func (s *Sentinels) AwaitFailover() {
	s.t.Helper()
	for _, addr := range s.Addrs {
		s.await(addr, func(master map[string]string) bool { return master["port"] == strconv.Itoa(s.Replica.Port) })
	}
}
