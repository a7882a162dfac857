package sdks_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/slack-go/slack"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/examples/sdks"
)

var slackGo = sdk{
	name: "slack-go", module: "github.com/slack-go/slack",
	ok: `{"ok":true}`, down: `{"ok":false}`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		client := sdks.Slack("xoxb-1", set.wire(t, s))
		if set.own {
			client = slack.New("xoxb-1", slack.OptionHTTPClient(set.client(t, s)), slack.OptionRetry(3))
		}
		return call{"GetUserInfo", func(ctx context.Context) error {
				_, err := client.GetUserInfoContext(ctx, "U1")
				return err
			}}, call{"PostMessage", func(ctx context.Context) error {
				_, _, err := client.PostMessageContext(ctx, "C1", slack.MsgOptionText("hi", false))
				return err
			}}
	},
}

// All calls of Slack's API are POSTs: those that only read have to be marked.
func TestSlackReadsArePosts(t *testing.T) {
	for _, marked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, first(answer{http.StatusServiceUnavailable, nil, slackGo.down}, slackGo))
			read, _ := slackGo.open(t, s, setting{holdoff: 4, copied: true})
			ctx, want := t.Context(), 1
			if marked {
				ctx, want = holdoff.WithIdempotent(ctx), 2
			}
			if err := read.do(ctx); (err == nil) != marked || s.sends() != want {
				t.Errorf("marked %v: got %v and %d sends, want %d", marked, err, s.sends(), want)
			}
		})
	}
}
