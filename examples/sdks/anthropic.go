package sdks

import (
	"net/http"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"github.com/go-holdoff/holdoff"
)

// Anthropic makes an anthropic-sdk-go client without retries of its own. Its
// calls are POSTs without an Idempotency-Key: they are marked as safe to
// repeat, as the SDK takes them to be.
func Anthropic(transport http.RoundTripper, options ...option.RequestOption) anthropic.Client {
	return anthropic.NewClient(append(options,
		option.WithHTTPClient(&http.Client{Transport: transport}),
		option.WithMaxRetries(0),
		option.WithMiddleware(func(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			return next(req.WithContext(holdoff.WithIdempotent(req.Context())))
		}),
	)...)
}
