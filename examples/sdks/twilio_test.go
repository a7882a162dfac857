package sdks_test

import (
	"context"
	"testing"

	openapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/go-holdoff/holdoff/examples/sdks"
)

var twilioGo = sdk{
	name: "twilio-go", module: "github.com/twilio/twilio-go", bare: true,
	ok: `{}`, down: `{"message":"down"}`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		client := sdks.Twilio("AC1", "token", set.wire(t, s))
		return call{"FetchMessage", func(context.Context) error {
				_, err := client.Api.FetchMessage("SM1", &openapi.FetchMessageParams{})
				return err
			}}, call{"CreateMessage", func(context.Context) error {
				_, err := client.Api.CreateMessage(&openapi.CreateMessageParams{To: new("+1"), Body: new("hi")})
				return err
			}}
	},
}
