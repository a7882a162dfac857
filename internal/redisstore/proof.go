package redisstore

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// verified returns the text of a published change, if the secret proves it.
func verified(payload, secret string) (string, bool) {
	mac, text, ok := strings.Cut(payload, " ")
	if !ok || secret == "" {
		return "", false
	}
	want := sha1Hex(secret + sha1Hex(secret+text))
	return text, subtle.ConstantTimeCompare([]byte(mac), []byte(want)) == 1
}

// sha1Hex is redis.sha1hex, the one digest that scripts have. Nested as in verified,
// it is a MAC that has no known weakness.
func sha1Hex(s string) string {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}
