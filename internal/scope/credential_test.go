package scope

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func request(header http.Header, user *url.Userinfo) *http.Request {
	return &http.Request{Header: header, URL: &url.URL{Scheme: "https", Host: "h", User: user}}
}

func TestCredential_TellsSendersApart(t *testing.T) {
	const token, other = "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_26C7e42F292c6912E7710c838347Ae178B4a"
	long := strings.Repeat("x", 2*maxToken)
	of := func(name, value string) string { return Credential(request(http.Header{name: {value}}, nil)) }
	for _, tt := range []struct {
		what string
		a, b string
		same bool
	}{
		{"one token", of("Authorization", "Bearer "+token), of("Authorization", "Bearer "+token), true},
		{"two tokens", of("Authorization", "Bearer "+token), of("Authorization", "Bearer "+other), false},
		{"other case of the scheme", of("Authorization", "Bearer "+token), of("Authorization", "bearer "+token), true},
		{"two passwords of one user", of("Authorization", "Basic YWRhOm9uZQ=="), of("Authorization", "Basic YWRhOnR3bw=="), true},
		{"two users", of("Authorization", "Basic YWRhOm9uZQ=="), of("Authorization", "Basic Ym9iOm9uZQ=="), false},
		{"one user, in the URL", of("Authorization", "Basic YWRhOm9uZQ=="), Credential(request(nil, url.UserPassword("ada", "x"))), true},
		{"two signatures of one key", of("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261128/us-east-1/s3/aws4_request, Signature=1"),
			of("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261129/us-east-1/s3/aws4_request, Signature=2"), true},
		{"two API keys", of("X-Api-Key", token), of("X-Api-Key", other), false},
		{"a token of GitHub", of("Authorization", "token "+token), of("Authorization", "token "+other), false},
		{"a bot of Discord", of("Authorization", "Bot MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"), of("Authorization", "Bot "+token), false},
		{"two bearers that end differently", of("Authorization", "Bearer "+long+"a"), of("Authorization", "Bearer "+long+"b"), false},
		{"two signatures of one key with SigV4A", of("Authorization", "AWS4-ECDSA-P256-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261128/s3/aws4_request, Signature=1"),
			of("Authorization", "AWS4-ECDSA-P256-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261129/s3/aws4_request, Signature=2"), true},
		{"two signatures of one user with OAuth 1", of("Authorization", `OAuth oauth_consumer_key="c", oauth_token="370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb", oauth_signature="1"`),
			of("Authorization", `OAuth oauth_signature="2", oauth_token="370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb"`), true},
		{"two users with OAuth 1", of("Authorization", `OAuth oauth_consumer_key="c", oauth_token="370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb"`),
			of("Authorization", `OAuth oauth_consumer_key="c", oauth_token="470773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb"`), false},
		{"two answers of one user to a digest", of("Authorization", `Digest username="ada", realm="r", response="1"`), of("Authorization", `Digest realm="r", response="2", username="ada"`), true},
		{"two users with a digest", of("Authorization", `Digest username="ada", response="1"`), of("Authorization", `Digest username="bob", response="1"`), false},
		{"two signatures of one account of Azure", of("Authorization", "SharedKey account:Tj1="), of("Authorization", "SharedKey account:Uk2="), true},
	} {
		if tt.a == "" || tt.b == "" || (tt.a == tt.b) != tt.same {
			t.Errorf("%s: %q and %q", tt.what, tt.a, tt.b)
		}
	}
}

// Passwords, what is short enough to be guessed, and signatures that differ from request
// to request enter no tag.
func TestCredential_OfWhatMayBeGuessedIsNone(t *testing.T) {
	for _, value := range []string{
		"", "Bearer", "Bearer ", "Bearer short", "Bearer 1234567890123456789", "token 0123456789", "Unknown 0123456789012345678901234567890123456789",
		"Basic", "Basic !", basic(":password"), basic("a-password-without-a-user-name"), basic(""),
		`Digest response="6629fae49393a05397450978507c4ef1"`, `Digest username="", response="6629fae49393a05397450978507c4ef1"`,
		`Digest xusername="ada"`, `Digest username=`, `Digest username="`,
		`OAuth oauth_signature="6629fae49393a05397450978507c4ef1"`, `OAuth oauth_token="short"`,
		"AWS4-HMAC-SHA256 Signature=1", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE, Signature=1", "AWS4-HMAC-SHA256 Credential=/", "AWS4-HMAC-SHA256",
		"SharedKey", "SharedKey 6629fae49393a05397450978507c4ef16629fae49393a05397450978507c4ef1", "SharedKey :signature",
	} {
		if got := Credential(request(http.Header{"Authorization": {value}}, nil)); got != "" {
			t.Errorf("%q: got %q, want none", value, got)
		}
	}
	for _, req := range []*http.Request{
		request(nil, nil),
		request(http.Header{"X-Api-Key": {"short"}}, nil),
		request(http.Header{"X-Api-Key": {}}, nil),
		request(nil, url.UserPassword("", "password")),
		request(http.Header{"Authorization": {"Bearer short"}}, url.UserPassword("ada", "x")), // net/http sends the field
		{Header: http.Header{}},
	} {
		if got := Credential(req); got != "" {
			t.Errorf("%v: got %q, want none", req, got)
		}
	}
}

// A tag stands for one of 65,536 groups of senders: nothing of a token can be read from
// it, and a password changes nothing in it.
func TestCredential_PasswordLeavesNoTrace(t *testing.T) {
	want := Credential(request(http.Header{"Authorization": {basic("ada:one")}}, nil))
	for _, password := range []string{"", "one", "two", ":", "a:b", strings.Repeat("x", 4*maxToken)} {
		if got := Credential(request(http.Header{"Authorization": {basic("ada:" + password)}}, nil)); got != want {
			t.Errorf("with the password %q: got %q, want %q", password, got, want)
		}
		if got := Credential(request(nil, url.UserPassword("ada", password))); got != want {
			t.Errorf("with the password %q in the URL: got %q, want %q", password, got, want)
		}
	}
}

func basic(userAndPassword string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(userAndPassword))
}

func FuzzCredential(f *testing.F) {
	for _, value := range []string{
		"Bearer x", "Bearer 01234567890123456789", "Basic YWRhOm9uZQ==", "AWS4-HMAC-SHA256 Credential=a/b",
		`Digest username="ada"`, `OAuth oauth_token="01234567890123456789"`, "SharedKey a:b", "AWS a:b",
	} {
		f.Add(value, value)
	}
	f.Fuzz(func(t *testing.T, authorization, key string) {
		got := Credential(request(http.Header{"Authorization": {authorization}, "X-Api-Key": {key}}, nil))
		if got != "" && (len(got) != tagLength || strings.Trim(got, "0123456789abcdef") != "") {
			t.Errorf("%q: got %q, want four hex digits or nothing", authorization, got)
		}
	})
}

func BenchmarkCredential(b *testing.B) {
	for name, value := range map[string]string{
		"bearer": "Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a",
		"basic":  basic("ada:one"),
		"aws":    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261128/us-east-1/s3/aws4_request, Signature=1",
		"digest": `Digest realm="r", username="ada", response="1"`,
	} {
		req := request(http.Header{"Authorization": {value}}, nil)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Credential(req)
			}
		})
	}
}
