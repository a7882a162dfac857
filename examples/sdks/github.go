package sdks

import (
	"net/http"

	"github.com/google/go-github/v89/github"
)

// GitHub makes a go-github client, which has no retries to switch off. Its own
// check of rate limits is: it fails calls that the transport would have held
// until they can be sent.
func GitHub(transport http.RoundTripper, options ...github.ClientOptionsFunc) (*github.Client, error) {
	return github.NewClient(append(options,
		github.WithTransport(transport),
		github.WithDisableRateLimitCheck(),
	)...)
}
