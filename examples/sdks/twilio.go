package sdks

import (
	"net/http"
	"time"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
)

// Twilio makes a twilio-go client, which has no retries to switch off. An
// http.Client of one's own takes the place of Twilio's, so it brings along what
// that has: a timeout, which must leave room for retries, and no redirects.
func Twilio(accountSID, authToken string, transport http.RoundTripper) *twilio.RestClient {
	base := &client.Client{
		Credentials: client.NewCredentials(accountSID, authToken),
		HTTPClient: &http.Client{
			Transport: transport,
			Timeout:   30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
	}
	base.SetAccountSid(accountSID)
	return twilio.NewRestClientWithParams(twilio.ClientParams{Client: base})
}
