package sdks

import (
	"net/http"

	"github.com/stripe/stripe-go/v85"
)

// Stripe makes a stripe-go client without retries of its own. It sends an
// Idempotency-Key with whatever writes, so that all of it may be sent again.
func Stripe(key string, transport http.RoundTripper) *stripe.Client {
	return stripe.NewClient(key, stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		HTTPClient:        &http.Client{Transport: transport},
		MaxNetworkRetries: new(int64(0)),
	})))
}
