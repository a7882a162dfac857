package vendors

import (
	"bytes"
	"net/http"
)

// GitHub is a Base that finds GitHub's secondary rate limits. Most of them come
// with Retry-After and need no set-up; of those that don't only the body tells
// that they are no plain 403. They get the minute of Retry-After that GitHub's
// documentation asks for, so that the host is held, and go-github learns how
// long its AbuseRateLimitError lasts.
//
// Transport.MaxWait is a minute as well: a longer one lets the request itself
// wait for its retry.
type GitHub struct {
	// Base sends the requests. If nil, what a [holdoff.Transport] without one
	// sends through.
	Base http.RoundTripper
}

// secondaryLimits are the endings of the addresses of documentation that
// GitHub's refusals name, today's and the one of older servers.
var secondaryLimits = [][]byte{
	[]byte(`secondary-rate-limits"`),
	[]byte(`#abuse-rate-limits"`),
}

// RoundTrip sends req through Base.
func (g *GitHub) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := orShared(g.Base).RoundTrip(req)
	if err != nil || !mayBeSecondary(resp) {
		return resp, err
	}
	head := peek(resp)
	for _, limit := range secondaryLimits {
		if bytes.Contains(head, limit) {
			resp.Header.Set("Retry-After", "60")
		}
	}
	return resp, nil
}

// mayBeSecondary finds refusals that don't say for how long.
func mayBeSecondary(resp *http.Response) bool {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests {
		return false
	}
	return resp.Header.Get("Retry-After") == "" && resp.Header.Get("X-Ratelimit-Remaining") != "0"
}

// WrappedRoundTripper returns Base, or what stands in for it.
func (g *GitHub) WrappedRoundTripper() http.RoundTripper { return orShared(g.Base) }

// CloseIdleConnections closes those of Base.
func (g *GitHub) CloseIdleConnections() { closeIdle(orShared(g.Base)) }
