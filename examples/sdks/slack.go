package sdks

import (
	"net/http"

	"github.com/slack-go/slack"
)

// Slack makes a slack-go client, which retries nothing unless OptionRetry asks
// it to.
func Slack(token string, transport http.RoundTripper) *slack.Client {
	return slack.New(token, slack.OptionHTTPClient(&http.Client{Transport: transport}))
}
