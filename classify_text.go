package holdoff

import (
	"slices"
	"strings"
)

// Errors of net/http that have no type. Their texts are known to this file only,
// and compared as a whole: tests make net/http return them, and fail when one
// changes.

// idleClosedText is of a connection that the server closed, because it was idle,
// at the moment at which net/http took it for the request.
const idleClosedText = "http: server closed idle connection"

// lostTexts are of connections that ended before the response headers.
var lostTexts = []string{
	"http2: client connection lost",               // a PING was not answered
	"http2: client conn could not be established", // closed before its first stream
}

// goAwayFirstText comes before the name of the error code, where the server shut
// a connection with an error before processing its first stream. net/http does
// not resend that stream.
const goAwayFirstText = "http2: Transport received GOAWAY from server ErrCode:"

// proxyTexts are the reasons that proxies give with 429, 502, 503 and 504 where
// they refuse a tunnel. net/http makes them errors without the status code. 403
// and 407 are not among them: the next CONNECT would be refused as well.
var proxyTexts = []string{
	"too many requests",
	"bad gateway", "proxy error", // Apache calls 502 so
	"service unavailable", "service temporarily unavailable", // nginx
	"gateway timeout", "gateway time-out", // nginx
}

func isIdleClosed(err error) bool {
	return anyIn(err, func(err error) bool { return err.Error() == idleClosedText })
}

func isLost(err error) bool {
	return anyIn(err, func(err error) bool { return slices.Contains(lostTexts, err.Error()) })
}

func isProxyStatus(err error) bool {
	return anyIn(err, func(err error) bool { return slices.Contains(proxyTexts, strings.ToLower(err.Error())) })
}
