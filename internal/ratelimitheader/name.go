package ratelimitheader

import (
	"net/http"
	"strings"
)

// nameFields give the one limit of which a response speaks a name, as net/http
// canonicalises them: GitHub's ("core", "search"), Discord's, Datadog's and GitLab's.
// Slack and AWS send no such field: their limits are per method and per action, which
// the request says. Nor is RateLimit-Policy one: it lists limits, whatever was met.
var nameFields = [...]string{"X-Ratelimit-Resource", "X-Ratelimit-Bucket", "X-Ratelimit-Name", "Ratelimit-Name"}

// unnamedLimit is what many servers call a limit that needs no name.
const unnamedLimit = "default"

// Limit returns the name of the limit of which a response speaks: that of a field
// made for it, or else that of the RateLimit item with the least that remains, which
// for a refusal is the one that refused. The name is "" where the server gives none.
// reach says whose the limit is, in the words of Discord's X-RateLimit-Scope: "user",
// "shared", "global", or "" where the server does not say. A global limit has no name.
func Limit(h http.Header) (name, reach string) {
	if reach = limitReach(h); reach != global {
		if name = fieldName(h); name == "" {
			name = tightestItem(h)
		}
	}
	if (name != "" || reach != "") && cached(h) {
		return "", ""
	}
	return name, reach
}

const global = "global"

// limitReach reads Discord's fields: X-RateLimit-Global is the older one.
func limitReach(h http.Header) string {
	if strings.EqualFold(Value(h, "X-Ratelimit-Global"), "true") {
		return global
	}
	said := Value(h, "X-Ratelimit-Scope")
	for _, reach := range [...]string{global, "user", "shared"} {
		if strings.EqualFold(said, reach) {
			return reach
		}
	}
	return ""
}

func fieldName(h http.Header) string {
	for _, field := range nameFields {
		if lines := h[field]; len(lines) == 1 {
			if name := limitName(lines[0]); name != "" {
				return name
			}
		}
	}
	return ""
}

// tightestItem returns the name of the item of RateLimit with the least that remains,
// the first of equals.
func tightestItem(h http.Header) (name string) {
	least := int64(-1)
	eachRateLimit(h, func(item string, remaining, _ int64) {
		if least < 0 || remaining < least {
			name, least = item, remaining
		}
	})
	return name
}

// limitName returns a name without its quotes, and "" for what is none. A name that is
// too long is none either: cut off, it could be that of two limits. So is a quoted one
// with a comma or a semicolon, where lists are cut.
func limitName(s string) string {
	s = strings.TrimSpace(s)
	if quoted, ok := strings.CutPrefix(s, `"`); ok {
		if s, ok = strings.CutSuffix(quoted, `"`); !ok {
			return ""
		}
		s = strings.TrimSpace(s)
	}
	if len(s) > maxValueBytes || s == unnamedLimit {
		return ""
	}
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' {
			return ""
		}
	}
	return s
}
