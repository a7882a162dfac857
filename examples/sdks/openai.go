package sdks

import (
	"net/http"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/go-holdoff/holdoff"
)

// OpenAI makes an openai-go client without retries of its own. Its calls are
// POSTs without an Idempotency-Key: they are marked as safe to repeat, as the
// SDK takes them to be.
func OpenAI(transport http.RoundTripper, options ...option.RequestOption) openai.Client {
	return openai.NewClient(append(options,
		option.WithHTTPClient(&http.Client{Transport: transport}),
		option.WithMaxRetries(0),
		option.WithMiddleware(func(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			return next(req.WithContext(holdoff.WithIdempotent(req.Context())))
		}),
	)...)
}
