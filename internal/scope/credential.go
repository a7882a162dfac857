package scope

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
)

const (
	// minToken is how long a token must be to be random, so that 16 bits of a digest
	// confirm no guess of it.
	minToken = 20
	// maxToken bounds what is hashed of a token.
	maxToken = 1 << 10
	// tagBytes of a digest are the tag.
	tagBytes = 2
)

// keyFields carry a key of an API and nothing else. They are spelt as net/http
// canonicalises them.
var keyFields = [...]string{"X-Api-Key", "Api-Key", "X-Goog-Api-Key", "X-Auth-Token", "X-Shopify-Access-Token", "Private-Token", "Dd-Api-Key"}

// tokenSchemes are those of which the whole rest is a token.
var tokenSchemes = [...]string{"bearer", "token", "bot", "apikey", "api-key", "key", "geniekey", "deepl-auth-key", "sso-key"}

// Credential returns a tag of 16 bits of who sends a request, or "" where that is not
// known: of a user name, or of a token that is long enough to be random. Nothing of a
// password enters it, and it neither gives a token away nor confirms a guess of one.
func Credential(req *http.Request) string {
	if user := authorized(req.Header.Get("Authorization")); user != "" {
		return tag(user)
	}
	for _, field := range keyFields {
		if values := req.Header[field]; len(values) > 0 && len(values[0]) >= minToken {
			return tag(values[0])
		}
	}
	if req.URL != nil && req.URL.User != nil && req.Header.Get("Authorization") == "" {
		if name := req.URL.User.Username(); name != "" {
			return tag(name)
		}
	}
	return ""
}

// authorized returns what names the sender in an Authorization field. Schemes that sign
// each request are known by the name that they sign with, or not at all.
func authorized(field string) string {
	scheme, rest, ok := strings.Cut(field, " ")
	if !ok {
		return ""
	}
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "basic"):
		name, err := base64.StdEncoding.DecodeString(rest[:min(len(rest), maxToken)])
		if err != nil {
			return ""
		}
		user, _, _ := strings.Cut(string(name), ":")
		return user
	case strings.EqualFold(scheme, "aws4-hmac-sha256"):
		_, key, _ := strings.Cut(rest, "Credential=")
		id, _, _ := strings.Cut(key, "/")
		return id
	case len(rest) < minToken:
		return ""
	}
	for _, known := range tokenSchemes {
		if strings.EqualFold(scheme, known) {
			return rest
		}
	}
	return ""
}

// tag allocates nothing but its result.
func tag(sender string) string {
	const salt = "holdoff\x00" // so that it is no digest that others have
	var buf [len(salt) + maxToken]byte
	n := copy(buf[:], salt)
	n += copy(buf[n:], sender)
	sum := sha256.Sum256(buf[:n])
	var text [2 * tagBytes]byte
	hex.Encode(text[:], sum[:tagBytes])
	return string(text[:])
}
