package scope

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

func TestRoute_IsTheShapeOfThePath(t *testing.T) {
	for path, want := range map[string]string{
		"":  "/",
		"/": "/", // AWS: DynamoDB, SQS, EC2
		"*": "/*",

		// Slack
		"/api/chat.postMessage":                                  "/api/chat.postMessage",
		"/api/conversations.list":                                "/api/conversations.list",
		"/api/files.completeUpload":                              "/api/files.completeUpload",
		"/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX": "/services/*/*/*",
		"/services/T02ABCDEF/B02ABCDEF/aQbWcErTyUiOpLkJhGfDsAzX": "/services/*/*/*",
		"/triggers/T02ABCDEF/7012345678901/d0e1f2a3b4c5d6e7":     "/triggers/*/*/*",
		// GitHub
		"/repos/golang/go/issues/7":                    "/repos/golang/go/issues",
		"/search/code":                                 "/search/code",
		"/user/repos":                                  "/user/repos",
		"/graphql":                                     "/graphql",
		"/repositories/23096959/commits":               "/repositories/*/commits",
		"/app/installations/12345678/access_tokens":    "/app/installations/*/access_tokens",
		"/gists/aa5a315d61ae9438b18d":                  "/gists/*",
		"/api/v3/repos/octo-org/octo-repo/pulls/1/req": "/api/v3/repos/octo-org",
		// AWS
		"/my-bucket/photos/2026/11/cat.jpg":                            "/my-bucket/photos/*/*",
		"/2015-03-31/functions/my-function/invocations":                "/*/functions/my-function/invocations",
		"/clusters/arn%3Aaws%3Akafka%3Aus-east-1%3A123456789012/nodes": "/clusters/*/nodes",
		"/prod/orders/8c5b1f0e6d7a4b0f9d0b0f5c8a1b2c3d":                "/prod/orders/*",
		"/model/anthropic.claude-sonnet/invoke-with-response-stream":   "/model/anthropic.claude-sonnet/invoke-with-response-stream",
		"/123456789012/my-queue.fifo":                                  "/*/my-queue.fifo",
		"/hostedzone/Z1D633PJN98FT9/rrset":                             "/hostedzone/*/rrset",
		"/v2/email/outbound-emails":                                    "/v2/email/outbound-emails",
		"/oidc/token":                                                  "/oidc/token",
		"/?X-Amz-Signature=0":                                          "/*",
		"/bucket/key;jsessionid=abc":                                   "/bucket/*",
		// Kubernetes
		"/api/v1/namespaces/default/pods/web-7d4b9/eviction":           "/api/v1/namespaces/default",
		"/apis/apps/v1/deployments":                                    "/apis/apps/v1/deployments",
		"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x": "/apis/*/v1/namespaces",
		"/healthz": "/healthz",
		"/apis/policy/v1beta1/podsecuritypolicies": "/apis/policy/v1beta1/podsecuritypolicies",
		// Discord
		"/api/v10/channels/41771983423143937/messages":                      "/api/v10/channels/*",
		"/api/webhooks/223704706495545344/3d89bb7572e0fb30d8128367b3b1b44f": "/api/webhooks/*/*",
		"/api/v10/users/@me/guilds":                                         "/api/v10/users/*",
		"/api/gateway/bot":                                                  "/api/gateway/bot",
		// OpenAI, Anthropic, Google, Azure
		"/v1/chat/completions":                                      "/v1/chat/completions",
		"/v1/messages/count_tokens":                                 "/v1/messages/count_tokens",
		"/v1/threads/thread_abc123/runs":                            "/v1/threads/*/runs",
		"/v1/files/file-abc123/content":                             "/v1/files/*/content",
		"/v1beta1/models/x:generateContent":                         "/v1beta1/models/x:generateContent",
		"/v1beta/models/gemini-2.5-pro:generateContent":             "/v1beta/models/*",
		"/openai/deployments/gpt-4o/chat/completions":               "/openai/deployments/*/chat",
		"/v1.0/users/me/messages":                                   "/v1.0/users/me/messages",
		"/v1.0/users('48d31887-5fad-4d73-a9f5-3c356e68a038')/drive": "/v1.0/*/drive",
		// Stripe
		"/v1/customers":                      "/v1/customers",
		"/v1/customers/cus_9s6XKzkNRiz8i3":   "/v1/customers/*",
		"/v1/payment_intents/pi_3Mt/confirm": "/v1/payment_intents/*/confirm",
		"/v1/invoices/search":                "/v1/invoices/search",
		// Twilio
		"/2010-04-01/Accounts/ACa1b2":                                           "/*/Accounts/*",
		"/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json": "/*/Accounts/*/Messages.json",
		"/v1/Services/MG0123456789abcdef0123456789abcdef/PhoneNumbers":          "/v1/Services/*/PhoneNumbers",
		// X
		"/2/tweets/search/recent":      "/*/tweets/search/recent",
		"/2/users/2244994945/tweets":   "/*/users/*/tweets",
		"/1.1/statuses/update.json":    "/*/statuses/update.json",
		"/v1.1/statuses":               "/v1.1/statuses",
		"/2/users/by/username/someone": "/*/users/by/username",

		// ids and tokens of all kinds
		"/users/42":              "/users/*",
		"/users/42/":             "/users/*/",
		"/users/ada@example.com": "/users/*",
		"/users/6ba7b810-9dad-11d1-80b4-00c04fd430c8":            "/users/*",
		"/hooks/aQbWcErTyUiOpLkJhGfDsAzX":                        "/hooks/*",
		"/hooks/aQbWc-ErTyUi_OpLkJh-GfDsAzX":                     "/hooks/*", // base64url
		"/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getMe": "/*/getMe", // Telegram
		"/file/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PAL/a":    "/file/*/a",
		"/t/eyJhbGciOiJIUzI.eyJzdWIiOiIxMjM0NTY.SflKxwRJSMeKKF2": "/t/*", // JWT
		"/files/a b":                      "/files/*",
		"/files/größe":                    "/files/*",
		"/files/a%2Fb":                    "/files/*",
		"//double":                        "//double",
		"/a\x00b":                         "/*",
		"x/y":                             "/x/y",
		"/" + strings.Repeat("a", 32):     "/" + strings.Repeat("a", 32),
		"/" + strings.Repeat("a", 33):     "/*",
		"/" + strings.Repeat("word-", 19): "/" + strings.Repeat("word-", 19),
		"/" + strings.Repeat("word-", 20): "/*",
		"/getConversationsHistoryList":    "/getConversationsHistoryList",
		"/GetQueueAttributes":             "/GetQueueAttributes",
		"/ABCDEFGHIJKLMNOP":               "/ABCDEFGHIJKLMNOP",
		"/ABCDEFGHIJKLMNOPQ":              "/*",
		"/v":                              "/v",
		"/v1234":                          "/*",
		"/version2":                       "/*",
	} {
		if got := Route(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

// A token that is drawn at random is no part of a route, whichever alphabet it is of. Of
// letters alone it is one in a hundred at most; real alphabets have digits, and 2 % of
// their tokens of 24 characters have none by chance.
func TestRoute_HidesRandomTokens(t *testing.T) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	random := rand.New(rand.NewPCG(1, 2))
	for _, alphabet := range []struct {
		name, of string
		length   int
		rarely   int // one of so many is seen at most
	}{
		{"base64url", letters + "0123456789-_", 24, 1000},
		{"base62", letters + "0123456789", 24, 1000},
		{"letters", letters, 24, 100},
		{"letters, - and _", letters + "-_", 24, 100},
		{"hex", "0123456789abcdef", 32, 1000},
		{"base32", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 26, 1000},
		{"capitals", letters[26:], 24, 1000},
	} {
		const draws = 20_000
		seen := 0
		for range draws {
			token := make([]byte, alphabet.length)
			for i := range token {
				token[i] = alphabet.of[random.IntN(len(alphabet.of))]
			}
			if Route("/hooks/"+string(token)) != "/hooks/*" {
				seen++
			}
		}
		if seen > draws/alphabet.rarely {
			t.Errorf("%s: %d of %d tokens of %d characters are seen in the route", alphabet.name, seen, draws, alphabet.length)
		}
	}
}

// longestRun returns the most letters and digits in a row.
func longestRun(s string) (most int) {
	run := 0
	for _, c := range []byte(s) {
		if isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			run++
		} else {
			run = 0
		}
		most = max(most, run)
	}
	return most
}

func FuzzRoute(f *testing.F) {
	for _, path := range []string{"", "/", "/a/b", "/v1/users/42", "//", "x", "x//", "/a b", "/é", "/*/x", "/a/b/c/d/e", "/a\x00b", "\xff", " /a", "/v1.1/x"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := Route(path)
		if again := Route(got); again != got {
			t.Errorf("%q: got %q, and of that %q", path, got, again)
		}
		if !strings.HasPrefix(got, "/") || strings.Count(got, "/") > maxSegments {
			t.Errorf("%q: got %q, want 1 to %d segments", path, got, maxSegments)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ContainsAny(got, "#@=%") {
			t.Errorf("%q: got %q, which has characters that no route has", path, got)
		}
		if n := longestRun(got); n > maxWord {
			t.Errorf("%q: got %q, with %d letters and digits in a row", path, got, n)
		}
	})
}

// What a request of a key in trouble costs is bounded.
func TestAllocations_AreFew(t *testing.T) {
	const bearer = "Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a"
	of := request(http.Header{"Authorization": {bearer}}, nil)
	for _, tt := range []struct {
		what string
		most float64
		do   func()
	}{
		{"a plain path", 0, func() { Route("/v1/chat/completions") }},
		{"a long plain path", 0, func() { Route("/repos/golang/go/issues/7") }},
		{"a path with ids", 1, func() { Route("/users/42/posts/7") }},
		{"a bearer", 1, credentialOf("Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a")},
		{"a user", 1, credentialOf(basic("ada:one"))},
		{"a key of AWS", 1, credentialOf("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261128/us-east-1/s3/aws4_request, Signature=1")},
		{"no credential", 0, credentialOf("")},
		{"a point of a plain path", 1, pointOf("/v1/chat/completions", bearer)},
		{"a point of a path with ids", 1, pointOf("/users/42/posts/7", bearer)},
		{"a point of a path with ids, of a user", 1, pointOf("/users/42/posts/7", basic("ada:one"))},
		{"a point of a path with ids, of nobody", 1, pointOf("/users/42/posts/7", "")},
		{"a sender", 0, func() { Sender(of) }},
	} {
		if got := testing.AllocsPerRun(100, tt.do); got > tt.most {
			t.Errorf("%s: got %v allocations, want %v at most", tt.what, got, tt.most)
		}
	}
}

func pointOf(path, authorization string) func() {
	req := request(http.Header{"Authorization": {authorization}}, nil)
	req.URL.Path = path
	return func() { Point(req) }
}

func credentialOf(authorization string) func() {
	req := request(http.Header{"Authorization": {authorization}}, nil)
	return func() { Credential(req) }
}

func BenchmarkRoute(b *testing.B) {
	for name, path := range map[string]string{"plain": "/v1/chat/completions", "ids": "/users/42/posts/7"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Route(path)
			}
		})
	}
}
