package sdks_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

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

// Stripe's word counts, without set-up; and all attempts have one
// Idempotency-Key, so that nothing is charged twice.
func TestStripeSays(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		say    string
		sends  int
	}{
		{"to retry a 409", 409, "true", 2},
		{"to retry a 400", 400, "true", 2},
		{"not to retry a 500", 500, "false", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, first(answer{test.status, http.Header{"Stripe-Should-Retry": {test.say}}, stripeGo.down}, stripeGo))
				_, create := stripeGo.open(t, s, setting{holdoff: 4, copied: true})
				err := create.do(t.Context())
				if (err == nil) != (test.sends == 2) || s.sends() != test.sends {
					t.Fatalf("got %v and %d sends, want %d", err, s.sends(), test.sends)
				}
				key := s.seen()[0].header.Get("Idempotency-Key")
				for _, r := range s.seen() {
					if got := r.header.Get("Idempotency-Key"); got != key || key == "" {
						t.Errorf("got Idempotency-Key %q, then %q; want one for all attempts", key, got)
					}
				}
			})
		})
	}
}
