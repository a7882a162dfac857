package sdks_test

import (
	"context"
	"testing"

	"github.com/slack-go/slack"

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
