package sdks_test

import (
	"context"
	"testing"

	"github.com/stripe/stripe-go/v85"

	"github.com/go-holdoff/holdoff/examples/sdks"
)

var stripeGo = sdk{
	name: "stripe-go", module: "github.com/stripe/stripe-go/v85",
	ok: `{}`, down: `{"error":{"type":"api_error","message":"down"}}`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		client := sdks.Stripe("sk_test_1", set.wire(t, s))
		if set.own {
			client = stripe.NewClient("sk_test_1", stripe.WithBackends(stripe.NewBackends(set.client(t, s))))
		}
		return call{"V1Customers.Retrieve", func(ctx context.Context) error {
				_, err := client.V1Customers.Retrieve(ctx, "cus_1", nil)
				return err
			}}, call{"V1Customers.Create", func(ctx context.Context) error {
				_, err := client.V1Customers.Create(ctx, &stripe.CustomerCreateParams{Name: new("n")})
				return err
			}}
	},
}
