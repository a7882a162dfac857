package coordination

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-redis/redis_rate/v10"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/go-holdoff/holdoff/bench/peers"
)

// contender is a way to coordinate requests through Redis.
type contender struct {
	name    string
	version string
	// make returns what requests are sent through, and what ends it.
	make func(base http.RoundTripper, client *redis.Client) (http.RoundTripper, func(), error)
}

var contenders = []contender{
	{"bare", "", func(base http.RoundTripper, _ *redis.Client) (http.RoundTripper, func(), error) {
		return base, func() {}, nil
	}},
	{"holdoff, RedisStore", peers.Version("github.com/go-holdoff/holdoff"), withHoldoff},
	{"go-redis/redis_rate", peers.Version("github.com/go-redis/redis_rate/v10"), withLimiter},
	{"sony/gobreaker, distributed", peers.Version("github.com/sony/gobreaker/v2"), Breaker},
}

func withHoldoff(base http.RoundTripper, client *redis.Client) (http.RoundTripper, func(), error) {
	store, err := holdoff.NewRedisStore(client, holdoff.RedisOptions{})
	if err != nil {
		return nil, nil, err
	}
	return &holdoff.Transport{Base: base, Store: store}, func() { store.Close() }, nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// withLimiter asks for leave before every request, at a rate that is never reached.
func withLimiter(base http.RoundTripper, client *redis.Client) (http.RoundTripper, func(), error) {
	limiter := redis_rate.NewLimiter(client)
	limit := redis_rate.PerSecond(1_000_000)
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		leave, err := limiter.Allow(req.Context(), req.URL.Host, limit)
		if err != nil {
			return nil, err
		}
		if leave.Allowed == 0 {
			return nil, errors.New("refused by the limiter")
		}
		return base.RoundTrip(req)
	}), func() {}, nil
}

// Breaker makes every request within a breaker whose state is in Redis.
func Breaker(base http.RoundTripper, client *redis.Client) (http.RoundTripper, func(), error) {
	store := &breakerStore{client: client, locks: redsync.New(goredis.NewPool(client)), held: make(map[string]*redsync.Mutex)}
	breaker, err := gobreaker.NewDistributedCircuitBreaker[*http.Response](store, gobreaker.Settings{Name: "api"})
	if err != nil {
		return nil, nil, err
	}
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		return breaker.Execute(func() (*http.Response, error) { return base.RoundTrip(req) })
	}), func() {}, nil
}

// breakerStore keeps a breaker's state in Redis, as a store must that the breaker
// leaves to its users: with redsync's locks, of which its repository speaks, and
// safe for concurrent use.
type breakerStore struct {
	client *redis.Client
	locks  *redsync.Redsync

	mu   sync.Mutex
	held map[string]*redsync.Mutex
}

func (s *breakerStore) Lock(name string) error {
	lock := s.locks.NewMutex(name, redsync.WithExpiry(5*time.Second))
	if err := lock.Lock(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[name] = lock
	return nil
}

func (s *breakerStore) Unlock(name string) error {
	s.mu.Lock()
	lock := s.held[name]
	s.mu.Unlock()
	_, err := lock.Unlock()
	return err
}

func (s *breakerStore) GetData(name string) ([]byte, error) {
	data, err := s.client.Get(context.Background(), name).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return data, err
}

func (s *breakerStore) SetData(name string, data []byte) error {
	return s.client.Set(context.Background(), name, data, 0).Err()
}
