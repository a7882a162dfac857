package sdks_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

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

// An http.Client that took the place of Twilio's would follow redirects, and
// wait for ever.
func TestTwilioKeepsWhatItsClientDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, first(answer{http.StatusFound, http.Header{"Location": {"/elsewhere"}}, `{}`}, twilioGo))
		fetch, _ := twilioGo.open(t, s, setting{copied: true})
		if err := fetch.do(t.Context()); err != nil || s.sends() != 1 {
			t.Errorf("got %v and %d sends, want the redirect itself", err, s.sends())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(int, *http.Request) answer {
			time.Sleep(time.Minute)
			return answer{http.StatusOK, nil, `{}`}
		})
		fetch, _ := twilioGo.open(t, s, setting{copied: true})
		begun := time.Now()
		if err := fetch.do(t.Context()); err == nil || time.Since(begun) != 30*time.Second {
			t.Errorf("got %v after %v, want a timeout after 30s", err, time.Since(begun))
		}
	})
}
