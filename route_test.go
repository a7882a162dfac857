package holdoff_test

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-holdoff/holdoff"
)

// scopesHeld returns what is held after a request was refused for half a minute.
func scopesHeld(t *testing.T, tr *holdoff.Transport, req *http.Request) (scopes []holdoff.Scope) {
	t.Helper()
	tr.Base, tr.MaxWait = answers(429), -1
	if status, err := statusOf(tr, req); err != nil || status != 429 {
		t.Fatalf("got %v, %v; want the refusal", status, err)
	}
	for key := range tr.Keys() {
		if key.Phase == holdoff.Held {
			scopes = append(scopes, key.Scope.Shared())
		}
	}
	return scopes
}

// The route of a point is what the context names, or what Route returns, or else the
// shape of the path.
func TestRoute_IsNamedByContextThenFieldThenPath(t *testing.T) {
	by := func(name string) func(*http.Request) string { return func(*http.Request) string { return name } }
	for _, tt := range []struct {
		what  string
		route func(*http.Request) string
		named string
		want  string
	}{
		{"nothing else", nil, "", "/v1/users/*/posts"},
		{"a field", by("GET_users"), "", "GET_users"},
		{"a field with what no scope can have", by("@a b\n#c"), "", "_a_b_#c"},
		{"a field that is long", by(strings.Repeat("x", 1000)), "", strings.Repeat("x", 96)},
		{"a field that says one scope", by(""), "", ""},
		{"a context", nil, "gpt-4o", "gpt-4o"},
		{"a context, and a field", by("GET_users"), "gpt-4o", "gpt-4o"},
		{"a context, and a field that says one scope", by(""), "gpt-4o", "gpt-4o"},
		{"a context that begins with a mark", nil, "@cf/meta/llama-3.1-8b", "_cf/meta/llama-3.1-8b"},
		{"a context that is empty", nil, "", "/v1/users/*/posts"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			req := newRequest(t, "GET", "https://api.example.com/v1/users/42/posts/7?token=secret", "")
			req = req.WithContext(holdoff.WithScope(req.Context(), tt.named))
			if got, want := scopesHeld(t, &holdoff.Transport{Route: tt.route}, req), []holdoff.Scope{{Route: tt.want}}; !slices.Equal(got, want) {
				t.Errorf("got %q held, want %q", got, want)
			}
		})
	}
}

// Where Route says that a key has one scope, neither does the credential make another.
func TestRoute_EmptyHoldsTheKeyForAllCredentials(t *testing.T) {
	req := newRequest(t, "GET", "https://api.example.com/v1/users", "")
	req.SetBasicAuth("ada", "password")
	if got := scopesHeld(t, &holdoff.Transport{Route: oneScope}, req); !slices.Equal(got, []holdoff.Scope{{}}) {
		t.Errorf("got %q held, want the whole key", got)
	}
}

// What is escaped in a path is one segment, and no word.
func TestRouteOf_EscapedSegmentIsAnID(t *testing.T) {
	for url, want := range map[string]string{
		"https://gitlab.example.com/api/v4/projects/group%2Fname/issues": "/api/v4/projects/*",
		"https://api.example.com/files/a%20b":                            "/files/*",
		"https://api.example.com/files/a":                                "/files/a",
		"https://api.example.com":                                        "/",
	} {
		if got := holdoff.RouteOf(newRequest(t, "GET", url, "")); got != want {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}

// Nothing that a Transport shows has what is secret in a request: tokens in paths,
// queries, fields and user names' passwords.
func TestScope_ShowsNoSecret(t *testing.T) {
	const secret = "aQbWc3ErTyUiOp4LkJhGfDsAzX"
	encoded := base64.StdEncoding.EncodeToString([]byte("ada:" + secret))
	for _, url := range []string{
		"https://hooks.example.com/services/T00000000/B00000000/" + secret,
		"https://api.example.com/bot110201543:" + secret + "/sendMessage",
		"https://discord.example.com/api/webhooks/223704706495545344/" + secret,
		"https://api.example.com/v1/things?api_key=" + secret,
		"https://ada:" + secret + "@api.example.com/v1/things",
	} {
		for _, field := range []string{"", "Bearer " + secret, "Basic " + encoded, "Bot " + secret} {
			var shown strings.Builder
			tr := &holdoff.Transport{Store: &holdoff.MemoryStore{}, Observe: func(_ context.Context, e holdoff.Event) {
				fmt.Fprintf(&shown, "%v %s %s %q\n", e.Kind, e.Key, e.Scope.Words(), e.Scope)
			}}
			req := newRequest(t, "GET", url, "")
			if field != "" {
				req.Header.Set("Authorization", field)
			}
			if held := scopesHeld(t, tr, req); len(held) != 1 {
				t.Fatalf("%s: got %q held, want one scope", url, held)
			}
			_, err := tr.RoundTrip(req)
			fmt.Fprintln(&shown, err)
			for key := range tr.Keys() {
				fmt.Fprintf(&shown, "%v %+v\n", key, key)
			}
			for _, part := range []string{secret, secret[:8], encoded, "secret"} {
				if text := shown.String(); !strings.Contains(text, "is held for") || strings.Contains(text, part) {
					t.Errorf("%s with %q shows %q:\n%s", url, field, part, text)
				}
			}
		}
	}
}

// AWS' JSON services have one path. Their limits are per action, which a header names.
func ExampleTransport_route() {
	transport := &holdoff.Transport{
		Base:    answers(429, 200),
		MaxWait: -1,
		Route: func(req *http.Request) string {
			return cmp.Or(req.Header.Get("X-Amz-Target"), holdoff.RouteOf(req))
		},
	}
	for _, action := range []string{"DynamoDB_20120810.Query", "DynamoDB_20120810.Query", "DynamoDB_20120810.GetItem"} {
		req, _ := http.NewRequest("POST", "https://dynamodb.us-east-1.amazonaws.com/", nil)
		req.Header.Set("X-Amz-Target", action)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			fmt.Println(action, "is held")
			continue
		}
		resp.Body.Close()
		fmt.Println(action, resp.StatusCode)
	}
	// Output:
	// DynamoDB_20120810.Query 429
	// DynamoDB_20120810.Query is held
	// DynamoDB_20120810.GetItem 200
}

// The model of an LLM API is in the body, and has a limit of its own.
func ExampleWithScope() {
	transport := &holdoff.Transport{Base: answers(429, 200), MaxWait: -1}
	for _, model := range []string{"large", "large", "small"} {
		ctx := holdoff.WithScope(context.Background(), model)
		fmt.Println(model, do(ctx, transport, "POST", "https://llm.example.com/v1/chat/completions"))
	}
	// Output:
	// large 429
	// large held, not sent
	// small 200
}
