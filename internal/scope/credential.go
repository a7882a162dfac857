package scope

import (
	"bytes"
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
	// maxToken bounds what is hashed of a token, and what is read of Basic. It is a
	// multiple of 4, where base64 can be cut.
	maxToken = 1 << 10
	// tagBytes of a digest are the tag.
	tagBytes = 2
)

// keyFields carry a key of an API and nothing else. They are spelt as net/http
// canonicalises them.
var keyFields = [...]string{
	"X-Api-Key", "Api-Key", "X-Goog-Api-Key", "X-Auth-Token", "X-Shopify-Access-Token", "Private-Token", "Dd-Api-Key",
	"Ocp-Apim-Subscription-Key", "X-Rapidapi-Key", "Xi-Api-Key", "X-Vault-Token",
}

// schemes of Authorization fields, each with what names the sender in the rest of the
// field. Those that sign each request name the sender beside the signature.
var schemes = [...]struct {
	name   string
	sender func(rest string) string
}{
	{"Bearer", token},
	{"Basic", user},
	{"Token", token},
	{"Bot", token},
	{"AWS4-HMAC-SHA256", keyOfAWS},
	{"AWS4-ECDSA-P256-SHA256", keyOfAWS},
	{"OAuth", func(rest string) string { return token(parameter(rest, "oauth_token")) }},
	{"Digest", func(rest string) string { return parameter(rest, "username") }},
	{"SharedKey", account},
	{"SharedKeyLite", account},
	{"ApiKey", token},
	{"Api-Key", token},
	{"Key", token},
	{"GenieKey", token},
	{"DeepL-Auth-Key", token},
	{"sso-key", token},
}

// Credential returns a tag of 16 bits of who sends a request, or "" where that is not
// known: of a user name, or of a token that is long enough to be random. Nothing of a
// password enters it, and it neither gives a token away nor confirms a guess of one.
func Credential(req *http.Request) string {
	field := req.Header.Get("Authorization")
	if sender := authorized(field); sender != "" {
		return tag(sender)
	}
	for _, name := range keyFields {
		if values := req.Header[name]; len(values) > 0 && token(values[0]) != "" {
			return tag(values[0])
		}
	}
	// net/http sends what the URL has where there is no field.
	if field == "" && req.URL != nil && req.URL.User != nil {
		if name := req.URL.User.Username(); name != "" {
			return tag(name)
		}
	}
	return ""
}

// authorized returns what names the sender in an Authorization field.
func authorized(field string) string {
	scheme, rest, _ := strings.Cut(field, " ")
	for _, known := range schemes {
		if strings.EqualFold(scheme, known.name) {
			return known.sender(strings.TrimSpace(rest))
		}
	}
	return ""
}

// token returns a text that is long enough to be random.
func token(text string) string {
	if len(text) < minToken {
		return ""
	}
	return text
}

// user returns the user name of Basic authentication. Without a colon the text may be a
// password.
func user(text string) string {
	var buf [maxToken]byte
	n, err := base64.StdEncoding.Decode(buf[:], []byte(text[:min(len(text), maxToken)]))
	name, _, ok := bytes.Cut(buf[:n], []byte(":"))
	if err != nil || !ok {
		return ""
	}
	return string(name)
}

// keyOfAWS returns the id of the key that signed: it comes first in the scope of the
// signature.
func keyOfAWS(rest string) string {
	id, _, ok := strings.Cut(parameter(rest, "Credential"), "/")
	if !ok {
		return ""
	}
	return id
}

// account returns the name before a signature, as Azure's storage has it.
func account(rest string) string {
	name, _, ok := strings.Cut(rest, ":")
	if !ok {
		return ""
	}
	return name
}

// parameter returns the value of one of the parameters that commas separate.
func parameter(list, name string) string {
	for part := range strings.SplitSeq(list, ",") {
		if key, value, ok := strings.Cut(strings.TrimSpace(part), "="); ok && key == name {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// tag allocates nothing except its result. Of a long token it takes the end: there a JWT
// has its signature, while its beginning may be the same for many senders.
func tag(sender string) string {
	const salt = "holdoff\x00" // so that it is no digest that others have
	var buf [len(salt) + maxToken]byte
	n := copy(buf[:], salt)
	n += copy(buf[n:], sender[max(0, len(sender)-maxToken):])
	sum := sha256.Sum256(buf[:n])
	var text [2 * tagBytes]byte
	hex.Encode(text[:], sum[:tagBytes])
	return string(text[:])
}
