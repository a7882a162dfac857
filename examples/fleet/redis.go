package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// redisServer is the Redis that processes share through. Each run has its own
// namespace there, and leaves nothing behind.
type redisServer struct {
	asProcesses
	addr      string
	namespace string
	client    *redis.Client
	readings  []reading
}

// reading is how often each command was called up to a time.
type reading struct {
	at    time.Time
	calls map[string]int
}

// dialRedis returns an error where no Redis answers.
func dialRedis(ctx context.Context, addr string) (*redisServer, error) {
	s := &redisServer{
		addr: addr, namespace: "fleet-" + rand.Text(),
		client: redis.NewClient(&redis.Options{Addr: addr, DialTimeout: 2 * time.Second, DialerRetries: 1, MaxRetries: -1}),
	}
	logging.Disable() // what matters is returned as an error
	if err := s.client.Ping(ctx).Err(); err != nil {
		s.client.Close()
		return nil, err
	}
	return s, nil
}

func (s *redisServer) replica(ctx context.Context, j job) (member, error) {
	j.Redis, j.Namespace = s.addr, s.namespace
	return s.asProcesses.replica(ctx, j)
}

// read reads how often commands were called.
func (s *redisServer) read(ctx context.Context) error {
	info, err := s.client.Info(ctx, "commandstats").Result()
	if err != nil {
		return fmt.Errorf("INFO commandstats: %w", err)
	}
	r := reading{time.Now(), make(map[string]int)}
	for line := range strings.Lines(info) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		calls, _, found := strings.Cut(rest, ",")
		if n, err := strconv.Atoi(calls); found && err == nil {
			r.calls[name] = n
		}
	}
	s.readings = append(s.readings, r)
	return nil
}

// sent are the commands that come from replicas. Redis counts those that scripts
// call as well.
var sent = []string{"eval", "evalsha", "ping", "subscribe"}

// print prints what was asked of Redis between the readings.
func (s *redisServer) print(out io.Writer, x *experiment) {
	before, after := s.readings[0], s.readings[1]
	took := after.at.Sub(before.at)
	var parts []string
	sum, inScripts := 0, 0
	for _, name := range slices.SortedFunc(maps.Keys(after.calls), func(a, b string) int {
		return cmp.Or(cmp.Compare(after.calls[b], after.calls[a]), cmp.Compare(a, b))
	}) {
		n := after.calls[name] - before.calls[name]
		switch {
		case n == 0 || name == "info":
		case slices.Contains(sent, name):
			sum += n
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToUpper(name)))
		default:
			inScripts += n
		}
	}
	perSecond := float64(sum) / took.Seconds()
	fmt.Fprintf(out, "\nCommands that the shared run sent to Redis: %d in %.1f s (%s).\n", sum, took.Seconds(), strings.Join(parts, ", "))
	fmt.Fprintf(out, "That is %.1f per second, or %.2f per second and replica; each replica polls about once a second.\n",
		perSecond, perSecond/float64(len(x.members)))
	if inScripts > 0 {
		fmt.Fprintf(out, "Commands called within scripts, and by other users of this Redis: %d.\n", inScripts)
	}
}

// close removes what the run has left in Redis.
func (s *redisServer) close() {
	defer s.client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	keys := s.client.Scan(ctx, 0, "holdoff:{"+s.namespace+"}:*", 1000).Iterator()
	for keys.Next(ctx) {
		s.client.Unlink(ctx, keys.Val())
	}
}
