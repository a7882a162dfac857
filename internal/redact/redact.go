// Package redact removes from texts what may be secret in them: user info, paths,
// queries and fragments of URLs, and what a server sent.
package redact

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// redacted is an error whose text has lost what its URLs may hide.
type redacted struct {
	error
	text string
}

func (s *redacted) Error() string { return s.text }

func (s *redacted) Unwrap() error { return s.error }

// Error takes user info, paths, queries and fragments out of the URLs in err's
// text. net/http's own errors hold such URLs (a url.Error; a proxy's address).
func Error(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	clean := text
	// A query may hold spaces and quotes, at which a URL in plain text would
	// end. A url.Error says where its own does.
	for u, ok := errors.AsType[*url.Error](err); ok; u, ok = errors.AsType[*url.Error](u.Err) {
		scheme, location, absolute := strings.Cut(u.URL, "://")
		origin := ""
		if absolute {
			origin = scheme + "://" + authority(location)
		}
		clean = strings.ReplaceAll(clean, strconv.Quote(u.URL), strconv.Quote(origin))
		if absolute {
			clean = strings.ReplaceAll(clean, u.URL, origin)
		}
	}
	clean = redactQuotes(redactURLs(clean))
	if clean == text {
		return err
	}
	return &redacted{err, clean}
}

// redactURLs cuts every URL in text down to its scheme and host.
func redactURLs(text string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "://")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		out.WriteString("://")
		end := strings.IndexAny(rest, " \t\r\n\"'<>")
		if end < 0 {
			end = len(rest)
		}
		out.WriteString(authority(rest[:end]))
		text = rest[end:]
	}
}

// redactQuotes blanks quoted text, except URLs that are redacted already:
// net/http quotes what the server sent where it could not parse that, and it may
// have been a cookie.
func redactQuotes(text string) string {
	var out strings.Builder
	for {
		before, rest, opened := strings.Cut(text, `"`)
		quoted, after, closed := strings.Cut(rest, `"`)
		out.WriteString(before)
		if !opened {
			return out.String()
		}
		if !closed || (quoted != "" && !strings.Contains(quoted, "://")) {
			quoted = "…"
		}
		out.WriteString(`"` + quoted + `"`)
		text = after
	}
}

// authority returns host and port of what follows the :// of a URL. A password
// with a slash in it makes a URL invalid, and must not be seen all the same.
func authority(location string) string {
	host, rest := location, ""
	if i := strings.IndexAny(location, "/?#"); i >= 0 {
		host, rest = location[:i], location[i:]
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		return host[i+1:]
	}
	if strings.IndexByte(host, ':') >= 0 && strings.IndexByte(rest, '@') >= 0 {
		return "…"
	}
	return host
}
