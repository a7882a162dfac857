// Package hostkey names what a hold applies to: scheme, host and port, normalised.
package hostkey

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"unicode/utf8"
)

// MaxLen bounds the names that requests can make this process remember.
// A host name has at most 253 characters; what is longer is an attack or a
// mistake, and is remembered by its digest.
const MaxLen = 320

// Name names what a hold applies to. It is a struct of two substrings of
// the request's own URL, so that finding the gate of a healthy host costs no
// allocation.
type Name struct{ Scheme, Host string }

// String is the form that users see: scheme://host[:port].
func (k Name) String() string {
	if k.Scheme == "" {
		return k.Host // a key of the user's own
	}
	return k.Scheme + "://" + k.Host
}

// Of returns the key of req: what custom says, or else scheme, host and
// port as they will be dialled. User info, path and query never enter a key.
func Of(req *http.Request, custom func(*http.Request) string) Name {
	if custom != nil {
		if name := custom(req); name != "" {
			return Name{Host: Bounded(escaped(name))}
		}
	}
	return Name{
		Scheme: escaped(lower(req.URL.Scheme)),
		Host:   Bounded(escaped(normalHost(req.URL.Scheme, req.URL.Host))),
	}
}

// escaped returns a name without spaces and control characters, as in a URL: in the
// names of records a space ends the key. A URL that a program made may have them too.
// Of a name that is not UTF-8, all bytes that are not ASCII are escaped as well: stores
// get text. A name that is plain is returned as it is, without an allocation.
func escaped(name string) string {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f {
			return escape(name)
		}
	}
	return name
}

func escape(name string) string {
	text := utf8.ValidString(name)
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c > ' ' && c != 0x7f && (text || c < utf8.RuneSelf) {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + hex.EncodeToString([]byte{c}))
		}
	}
	return b.String()
}

// normalHost folds the spellings of one address into one: lower case, no
// default port, no trailing dot, IDN as ASCII. IPv6 literals keep the spelling
// that they came with, except for case. What it returns it would return again as
// it is: see gates.of, which compares names with the spelling of a URL.
func normalHost(scheme, host string) string {
	host = lower(host)
	name, port := splitPort(host)
	if strings.IndexByte(name[strings.LastIndexByte(name, ']')+1:], ':') >= 0 {
		return asciiHost(host) // not an address: there is nothing else to fold
	}
	name = strings.TrimRight(asciiHost(name), ".")
	switch {
	case port == "" || port == defaultPort(scheme):
		return name
	case strings.HasPrefix(host, name) && len(name)+len(":")+len(port) == len(host):
		return host // as it came, without an allocation
	}
	return name + ":" + port
}

// splitPort cuts a numeric port off host, and leaves everything else whole.
func splitPort(host string) (name, port string) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.IndexByte(host[i:], ']') >= 0 {
		return host, ""
	}
	for _, c := range []byte(host[i+1:]) {
		if c < '0' || c > '9' {
			return host, ""
		}
	}
	return host[:i], host[i+1:]
}

func defaultPort(scheme string) string {
	switch lower(scheme) {
	case "https", "wss":
		return "443"
	case "http", "ws":
		return "80"
	}
	return ""
}

// lower is strings.ToLower for what is nearly always lower case already.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' || c >= 0x80 {
			return strings.ToLower(s)
		}
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Bounded returns name, or a form of it with a digest where it is longer than MaxLen.
func Bounded(name string) string {
	if len(name) <= MaxLen {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return strings.ToValidUTF8(name[:64], "") + "~" + hex.EncodeToString(sum[:16])
}
