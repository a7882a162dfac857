package scope

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash/maphash"
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
	// tagLength is how long a tag is: 16 bits of a digest.
	tagLength = 4
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
	{"Basic", nil}, // it is encoded: see user
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

// An identity is room for what names the sender of a request, behind the salt of its tag.
type identity [len(salt) + maxToken]byte

const salt = "holdoff\x00" // so that a tag is of no digest that others have

// Credential returns a tag of 16 bits of who sends a request, or "" where that is not
// known: of a user name, or of a token that is long enough to be random. Nothing of a
// password enters it, and it neither gives a token away nor confirms a guess of one.
func Credential(req *http.Request) string {
	var text [tagLength]byte
	return string(text[:tag(&text, req)])
}

// seed makes [Sender] say something else in each process.
var seed = maphash.MakeSeed()

// Sender returns a number for who sends a request, which is of use in this process alone:
// 0 where that is not known. It allocates nothing, and costs less than a [Credential].
func Sender(req *http.Request) uint64 {
	var buf identity
	n := buf.read(req)
	if n == 0 {
		return 0
	}
	return maphash.Bytes(seed, buf[len(salt):len(salt)+n])
}

// tag writes the credential of a request, and returns its length: 0 where there is none.
// Nothing of the digest beyond it is kept.
func tag(text *[tagLength]byte, req *http.Request) int {
	var buf identity
	n := buf.read(req)
	if n == 0 {
		return 0
	}
	sum := sha256.Sum256(buf[:copy(buf[:], salt)+n])
	return hex.Encode(text[:], sum[:tagLength/2])
}

// read finds who sends a request, and returns the length of what it has written.
func (buf *identity) read(req *http.Request) int {
	field := req.Header.Get("Authorization")
	scheme, rest, _ := strings.Cut(field, " ")
	for i := range schemes {
		if !strings.EqualFold(scheme, schemes[i].name) {
			continue
		}
		if rest = strings.TrimSpace(rest); schemes[i].sender == nil {
			if n := buf.user(rest); n > 0 {
				return n
			}
		} else if sender := schemes[i].sender(rest); sender != "" {
			return buf.write(sender)
		}
		break
	}
	for _, name := range keyFields {
		if values := req.Header[name]; len(values) > 0 && token(values[0]) != "" {
			return buf.write(values[0])
		}
	}
	// net/http sends what the URL has where there is no field.
	if field == "" && req.URL != nil && req.URL.User != nil {
		return buf.write(req.URL.User.Username())
	}
	return 0
}

// write takes the end of a long token: there a JWT has its signature, while its beginning
// may be the same for many senders.
func (buf *identity) write(sender string) int {
	return copy(buf[len(salt):], sender[max(0, len(sender)-maxToken):])
}

// user writes the user name of Basic authentication. Without a colon the text may be a
// password.
func (buf *identity) user(text string) int {
	n, err := base64.StdEncoding.Decode(buf[len(salt):], []byte(text[:min(len(text), maxToken)]))
	end := bytes.IndexByte(buf[len(salt):len(salt)+n], ':')
	if err != nil || end < 0 {
		return 0
	}
	return end
}

// token returns a text that is long enough to be random.
func token(text string) string {
	if len(text) < minToken {
		return ""
	}
	return text
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
