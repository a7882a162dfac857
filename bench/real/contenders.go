package real

import (
	"fmt"
	"net/http"

	"github.com/go-holdoff/holdoff"
	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff/bench/coordination"
	"github.com/go-holdoff/holdoff/bench/peers"
)

// contender is what the replicas of a run send their requests through.
type contender struct {
	name   string
	shares bool // through Redis
	// make returns it around base, and what ends it.
	make func(base http.RoundTripper, client *redis.Client) (http.RoundTripper, func(), error)
}

// The names that scenarios call contenders by, besides those of package peers.
const (
	shared  = "holdoff, shared"
	alone   = "holdoff, alone"
	breaker = "sony/gobreaker, distributed"

	bare     = "bare"
	hashi    = "hashicorp/go-retryablehttp"
	re       = "PuerkitoBio/rehttp"
	failsafe = "failsafe-go/failsafehttp"
	oras     = "oras-go/retry"
	registry = "google/go-containerregistry"
)

func contenderNamed(name string) (contender, error) {
	switch name {
	case shared:
		return contender{name, true, withStore}, nil
	case alone:
		return contender{name, false, around(func(base http.RoundTripper) http.RoundTripper {
			return &holdoff.Transport{Base: base}
		})}, nil
	case breaker:
		return contender{name, true, coordination.Breaker}, nil
	}
	for _, p := range peers.All {
		if p.Name == name {
			return contender{name, false, around(p.New)}, nil
		}
	}
	return contender{}, fmt.Errorf("there is no contender %q", name)
}

func around(wrap func(http.RoundTripper) http.RoundTripper) func(http.RoundTripper, *redis.Client) (http.RoundTripper, func(), error) {
	return func(base http.RoundTripper, _ *redis.Client) (http.RoundTripper, func(), error) {
		return wrap(base), func() {}, nil
	}
}

func withStore(base http.RoundTripper, client *redis.Client) (http.RoundTripper, func(), error) {
	store, err := holdoff.NewRedisStore(client, holdoff.RedisOptions{})
	if err != nil {
		return nil, nil, err
	}
	return &holdoff.Transport{Base: base, Store: store}, func() {
		store.Close()
		client.Close()
	}, nil
}
