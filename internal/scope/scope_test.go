package scope

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestScope_JoinKeepsWhatBothHave(t *testing.T) {
	for _, tt := range []struct{ a, b, want Scope }{
		{Scope{"/a", "1", "x"}, Scope{"/a", "1", "x"}, Scope{"/a", "1", "x"}},
		{Scope{"/a", "1", "x"}, Scope{"/a", "1", "y"}, Scope{"/a", "1", ""}},
		{Scope{"/a", "1", "x"}, Scope{"/a", "2", "x"}, Scope{"/a", "", "x"}},
		{Scope{"/a", "1", "x"}, Scope{"/b", "1", "y"}, Scope{"", "1", ""}},
		{Scope{"/a", "1", "x"}, Scope{"/b", "2", "y"}, Scope{}},
		{Scope{"/a", "", ""}, Scope{"/a", "1", "x"}, Scope{"/a", "", ""}},
		{Scope{}, Scope{"/a", "1", "x"}, Scope{}},
	} {
		got := tt.a.Join(tt.b)
		if got != tt.want || tt.b.Join(tt.a) != tt.want {
			t.Errorf("%q and %q have %q in common, want %q", tt.a, tt.b, got, tt.want)
		}
		if !got.Covers(tt.a) || !got.Covers(tt.b) {
			t.Errorf("%q does not cover %q and %q", got, tt.a, tt.b)
		}
	}
	if (Scope{Route: "/a"}).Covers(Scope{Route: "/b"}) || (Scope{Credential: "1"}).Covers(Scope{}) {
		t.Error("a scope covers what lies outside it")
	}
}

func TestScope_RecordsAndWords(t *testing.T) {
	const key = "https://api.example.com"
	for _, tt := range []struct {
		scope               Scope
		record, words, kind string
	}{
		{Scope{}, key, "", "key"},
		{Scope{Route: "/v1/search"}, key + " /v1/search", "/v1/search", "route"},
		{Scope{Route: "/v1/*", Credential: "3f0a"}, key + " /v1/* #3f0a", "/v1/* of credential 3f0a", "route+credential"},
		{Scope{Route: "/", Credential: "3f0a", Replica: "R"}, key + " / #3f0a @R", "/ of credential 3f0a of one replica", "route+credential+replica"},
		{Scope{Credential: "3f0a"}, key + " #3f0a", "credential 3f0a", "credential"},
		{Scope{Replica: "R"}, key + " @R", "one replica", "replica"},
		{Scope{Route: Named("search")}, key + " =search", "the limit search", "route"},
	} {
		if got := tt.scope.Of(key); got != tt.record {
			t.Errorf("the record is %q, want %q", got, tt.record)
		}
		k, part := Split(tt.record)
		if got := Parse(part); k != key || got != tt.scope || Record(k, part) != tt.record {
			t.Errorf("%q is read as %q of %q", tt.record, got, k)
		}
		if got := tt.scope.Words(); got != tt.words {
			t.Errorf("%q in words: %q, want %q", tt.scope, got, tt.words)
		}
		if got := tt.scope.Kind(); got != tt.kind {
			t.Errorf("%q is of kind %q, want %q", tt.scope, got, tt.kind)
		}
	}
}

func TestRoute_IsTheShapeOfThePath(t *testing.T) {
	for path, want := range map[string]string{
		"":                                  "/",
		"/":                                 "/",
		"/api/chat.postMessage":             "/api/chat.postMessage", // Slack
		"/repos/golang/go/issues/7":         "/repos/golang/go/issues",
		"/search/code":                      "/search/code",
		"/v1/chat/completions":              "/v1/chat/completions",
		"/v1beta1/models/x:generateContent": "/v1beta1/models/x:generateContent",
		"/v1.1/statuses":                    "/v1.1/statuses",
		"/2010-04-01/Accounts/ACa1b2":       "/*/Accounts/*", // Twilio
		"/v1/customers/cus_9s6XKzkNRiz8i3":  "/v1/customers/*",
		"/users/42":                         "/users/*",
		"/users/42/":                        "/users/*/",
		"/users/ada@example.com":            "/users/*",
		"/users/6ba7b810-9dad-11d1-80b4-00c04fd430c8":            "/users/*",
		"/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX": "/services/*/*/*", // a webhook of Slack
		"/hooks/aQbWcErTyUiOpLkJhGfDsAzX":                        "/hooks/*",
		"/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getMe": "/*/getMe", // Telegram
		"/api/v10/channels/41771983423143937/messages":           "/api/v10/channels/*",
		"/api/v1/namespaces/default/pods/web-7d4b9/eviction":     "/api/v1/namespaces/default",
		"/files/a b":                   "/files/*",
		"/files/größe":                 "/files/*",
		"/files/a%2Fb":                 "/files/*",
		"//double":                     "//double",
		"/a\x00b":                      "/*",
		"*":                            "/*",
		"/" + strings.Repeat("a", 33):  "/*",
		"/getConversationsHistoryList": "/getConversationsHistoryList",
	} {
		if got := Route(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

func request(header http.Header, user *url.Userinfo) *http.Request {
	return &http.Request{Header: header, URL: &url.URL{Scheme: "https", Host: "h", User: user}}
}

func TestCredential_TellsSendersApart(t *testing.T) {
	const token, other = "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_26C7e42F292c6912E7710c838347Ae178B4a"
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
	} {
		if tt.a == "" || tt.b == "" || (tt.a == tt.b) != tt.same {
			t.Errorf("%s: %q and %q", tt.what, tt.a, tt.b)
		}
	}
}

// What may be guessed leaves no trace, and neither do signatures that differ from request
// to request.
func TestCredential_OfWhatMayBeGuessedIsNone(t *testing.T) {
	for _, value := range []string{
		"", "Bearer", "Bearer short", "Bearer 1234567890123456789", "Basic", "Basic !", "Basic OnBhc3N3b3Jk",
		"Digest username=\"ada\", response=\"6629fae49393a05397450978507c4ef1\"",
		"SharedKey account:6629fae49393a05397450978507c4ef16629fae49393a05397450978507c4ef1",
		"OAuth oauth_signature=\"6629fae49393a05397450978507c4ef1\"", "AWS4-HMAC-SHA256 Signature=1",
	} {
		if got := Credential(request(http.Header{"Authorization": {value}}, nil)); got != "" {
			t.Errorf("%q: got %q, want none", value, got)
		}
	}
	if got := Credential(request(http.Header{"X-Api-Key": {"short"}}, nil)); got != "" {
		t.Errorf("a short key: got %q, want none", got)
	}
}

func FuzzRoute(f *testing.F) {
	for _, path := range []string{"/", "/a/b", "/v1/users/42", "//", "x", "/a b", "/é"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := Route(path)
		if again := Route(got); again != got {
			// A segment that was not known is "*", and stays so.
			if strings.ReplaceAll(again, "*", "") != strings.ReplaceAll(got, "*", "") {
				t.Errorf("%q: got %q, and of that %q", path, got, again)
			}
		}
		if !strings.HasPrefix(got, "/") || strings.Count(got, "/") > maxSegments || strings.ContainsAny(got, " \n\x00#@=") {
			t.Errorf("%q: got %q", path, got)
		}
		s := Scope{Route: got, Credential: "0001", Replica: "R"}
		if Parse(s.String()) != s {
			t.Errorf("%q is read as %q", s, Parse(s.String()))
		}
	})
}

func FuzzCredential(f *testing.F) {
	f.Add("Bearer x")
	f.Add("Basic YWRhOm9uZQ==")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b")
	f.Fuzz(func(t *testing.T, value string) {
		if got := Credential(request(http.Header{"Authorization": {value}}, nil)); got != "" && len(got) != 2*tagBytes {
			t.Errorf("%q: got %q", value, got)
		}
		if got := Clean(value); strings.ContainsAny(got, " \n\x00") || len(got) > maxName {
			t.Errorf("%q: got %q", value, got)
		}
	})
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

func BenchmarkCredential(b *testing.B) {
	req := request(http.Header{"Authorization": {"Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a"}}, nil)
	b.ReportAllocs()
	for b.Loop() {
		Credential(req)
	}
}
