package vendors

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// GitHub knows the rate limits that GitHub states in a body alone, for now:
// secondary limits (a 403 or 429 like any other, except for the documentation that
// it names), and limits of the GraphQL API (a 200 with the error RATE_LIMITED, or
// RATE_LIMIT). The wait is until X-RateLimit-Reset, as with go-github, also where
// requests of the primary limit remain. Without one it is the minute that GitHub
// asks for. Limits in headers need no set-up.
//
// Transport.MaxWait is a minute as well: a longer one lets the request itself
// wait for its retry.
//
// Sources: docs.github.com, "Rate limits for the REST API" and "Rate limits and
// query limits for the GraphQL API"; go-github, parseSecondaryRate; RATE_LIMIT:
// octokit/plugin-throttling.js#848.
func GitHub(next Classifier) Classifier {
	return wrap(next,
		func(req *http.Request, resp *http.Response) bool {
			return mayBeSecondary(resp) || isGraphQL(req, resp)
		},
		func(resp *http.Response) (refusal, bool) {
			return refusal{reason: "throttled by GitHub", retryAfter: resetOrMinute(resp.Header)}, isGitHubLimit(resp)
		})
}

// mayBeSecondary finds refusals that don't say for how long.
func mayBeSecondary(resp *http.Response) bool {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests {
		return false
	}
	return resp.Header.Get("Retry-After") == "" && resp.Header.Get("X-Ratelimit-Remaining") != "0"
}

type gitHubBody struct {
	DocumentationURL string `json:"documentation_url"`
	Data             map[string]any
	Errors           []graphQLError
}

func isGitHubLimit(resp *http.Response) bool {
	for _, body := range objects[gitHubBody](peek(resp, hasData)) {
		// Today's documentation, and that of older servers.
		if strings.HasSuffix(body.DocumentationURL, "secondary-rate-limits") ||
			strings.HasSuffix(body.DocumentationURL, "#abuse-rate-limits") {
			return true
		}
		for _, e := range body.Errors {
			if body.Data == nil && (e.Type == "RATE_LIMITED" || e.Type == "RATE_LIMIT") {
				return true
			}
		}
	}
	return false
}

// resetOrMinute returns the time of the reset, if it lies ahead, in the seconds
// since 1970 that Retry-After may also hold here.
func resetOrMinute(h http.Header) string {
	reset := h.Get("X-Ratelimit-Reset")
	if epoch, err := strconv.ParseInt(reset, 10, 64); err == nil && epoch > time.Now().Unix() {
		return reset
	}
	return "60"
}
