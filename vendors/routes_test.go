package vendors_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

func TestRoutes(t *testing.T) {
	for _, tt := range []struct {
		route        func(*http.Request) string
		method, path string
		want         string
	}{
		{vendors.SlackRoute, "POST", "/api/chat.postMessage", "/api/chat.postMessage"},
		{vendors.SlackRoute, "POST", "/proxy/api/chat.postMessage", "/api/chat.postMessage"},
		{vendors.SlackRoute, "POST", "/services/T0/B0/abc", "/services/*/*/abc"},
		{vendors.SlackRoute, "POST", "/services/api/slack/api/chat.postMessage", "/api/chat.postMessage"},
		{vendors.SlackRoute, "POST", "/api/oauth.v2.access", "/api/oauth.v2.access"},
		{vendors.SlackRoute, "POST", "/api/xoxb-123", "/api/*"},
		{vendors.SlackRoute, "POST", "/api/eyJhbGciOiJIUzI1.eyJzdWIi.SflKxwRJ", "/api/*"},
		{vendors.SlackRoute, "POST", "/api/", "/api/"},
		{vendors.SlackRoute, "POST", "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", "/services/*/*/*"},
		{vendors.DiscordRoute, "POST", "/api/v10/channels/41771983423143937/messages", "/channels/41771983423143937/messages"},
		{vendors.DiscordRoute, "DELETE", "/api/v10/channels/41771983423143937/messages/42", "/channels/41771983423143937/messages/*"},
		{vendors.DiscordRoute, "GET", "/api/v10/guilds/197038439483310086", "/guilds/197038439483310086"},
		{vendors.DiscordRoute, "POST", "/api/webhooks/223704706495545344/3d89bb7572e0fb30d8128367b3b1b44f", "/webhooks/223704706495545344/*"},
		{vendors.DiscordRoute, "POST", "/api/webhooks/223704706495545344/wordswithoutadigit/slack", "/webhooks/223704706495545344/*/slack"},
		{vendors.DiscordRoute, "PATCH", "/api/v10/webhooks/223704706495545344/token/messages/@original", "/webhooks/223704706495545344/*/messages/*"},
		{vendors.DiscordRoute, "GET", "/api/v10/channels/41771983423143937/", "/channels/41771983423143937"},
		{vendors.DiscordRoute, "POST", "/api/v10/interactions/1055/aW50ZXJhY3Rpb246MTA1NQ/callback", "/api/v10/interactions/*"},
		{vendors.DiscordRoute, "GET", "/api/v10/channels/", "/api/v10/channels/"},
		{vendors.DiscordRoute, "GET", "/api/v10/users/@me", "/api/v10/users/*"},
		{vendors.KubernetesRoute, "POST", "/api/v1/namespaces/default/pods/web-7d4b9/eviction", "POST_pods/eviction"},
		{vendors.KubernetesRoute, "GET", "/api/v1/namespaces/default/pods", "GET_pods"},
		{vendors.KubernetesRoute, "GET", "/api/v1/namespaces/default", "GET_namespaces"},
		{vendors.KubernetesRoute, "PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/scheduler", "PUT_coordination.k8s.io/leases"},
		{vendors.KubernetesRoute, "GET", "/k8s/clusters/c-1/api/v1/nodes/n/status", "GET_nodes/status"},
		{vendors.KubernetesRoute, "GET", "/api/clusters/x/api/v1/pods", "GET_pods"},
		{vendors.KubernetesRoute, "PUT", "/api/v1/namespaces/default/finalize", "PUT_namespaces/finalize"},
		{vendors.KubernetesRoute, "GET", "/api/v1/watch/namespaces/secret-plan/pods", "GET_pods"},
		{vendors.KubernetesRoute, "GET", "/api/v1/namespaces/ns/services/https:web:/proxy/reset/0c6f", "GET_services/proxy"},
		{vendors.KubernetesRoute, "", "/apis/apps/v1/namespaces/api/deployments/v1/scale", "GET_apps/deployments/scale"},
		{vendors.KubernetesRoute, "GET", "/api/v1", "/api/v1"},
		{vendors.KubernetesRoute, "GET", "/healthz", "/healthz"},
		{vendors.KubernetesRoute, "GET", "/apis", "/apis"},
		{vendors.OpenAIRoute, "POST", "/openai/deployments/gpt-4o-eu/chat/completions", "/deployments/gpt-4o-eu"},
		{vendors.OpenAIRoute, "POST", "/v1beta/models/gemini-2.5-pro:generateContent", "/models/gemini-2.5-pro:generateContent"},
		{vendors.OpenAIRoute, "POST", "/v1/chat/completions", "/v1/chat/completions"},
		{vendors.OpenAIRoute, "GET", "/v1/models/", "/v1/models/"},
	} {
		req := &http.Request{Method: tt.method, URL: &url.URL{Scheme: "https", Host: "h", Path: tt.path}}
		if got := tt.route(req); got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.method, tt.path, got, tt.want)
		}
		if req.URL.Path != tt.path {
			t.Errorf("the request's path became %q", req.URL.Path)
		}
	}
}

// The action of AWS' protocols is found wherever one has it, and the body is left as it was.
func TestAWSRoute_IsTheAction(t *testing.T) {
	const form = "application/x-www-form-urlencoded; charset=utf-8"
	long := strings.Repeat("Name=x&", 1<<10)
	for _, tt := range []struct {
		what, target, url, kind, body string
		once                          bool // it has no GetBody
		want                          string
	}{
		{what: "JSON", target: "DynamoDB_20120810.Query", url: "/", kind: "application/x-amz-json-1.0", body: "{}", want: "DynamoDB_20120810.Query"},
		{what: "query", url: "/?Action=DescribeInstances&Version=2016-11-15", want: "DescribeInstances"},
		{what: "a form", url: "/", kind: form, body: "Action=SendMessage&MessageBody=a%26Action%3Db", want: "SendMessage"},
		{what: "a form, not first", url: "/", kind: form, body: "AccountId=1&Action=GetUser", want: "GetUser"},
		{what: "a form that is long", url: "/", kind: form, body: "Action=SendMessage&" + long, want: "SendMessage"},
		{what: "a form with the action at its end", url: "/", kind: form, body: long + "Action=SendMessage", want: "/"},
		{what: "a form with an action that is cut", url: "/", kind: form, body: strings.Repeat("x", 1010) + "&Action=SendMessage", want: "/"},
		{what: "a form that is sent once", url: "/", kind: form, body: "Action=SendMessage", once: true, want: "/"},
		{what: "another body", url: "/", kind: "text/plain", body: "Action=SendMessage", want: "/"},
		{what: "an action that is no name", url: "/?Action=a%20b", want: "/"},
		{what: "an empty action", url: "/?Action=", want: "/"},
		{what: "a long action", url: "/?Action=" + strings.Repeat("a", 65), want: "/"},
		{what: "CBOR", url: "/service/GraniteServiceVersion20100801/operation/PutMetricData", kind: "application/cbor", want: "/service/*/operation/PutMetricData"},
		{what: "REST", url: "/2015-03-31/functions/f/invocations", kind: "application/json", body: "{}", want: "/*/functions/f/invocations"},
	} {
		req := httptest.NewRequest("POST", "https://h"+tt.url, strings.NewReader(tt.body))
		if !tt.once {
			req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(tt.body)), nil }
		}
		req.Header.Set("Content-Type", tt.kind)
		if tt.target != "" {
			req.Header.Set("X-Amz-Target", tt.target)
		}
		if got := vendors.AWSRoute(req); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.what, got, tt.want)
		}
		if body, err := io.ReadAll(req.Body); err != nil || string(body) != tt.body {
			t.Errorf("%s: the body became %q, %v", tt.what, body, err)
		}
	}
	req := httptest.NewRequest("POST", "https://h/", nil)
	req.Header.Set("Content-Type", form)
	req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("it is gone") }
	if got := vendors.AWSRoute(req); got != "/" {
		t.Errorf("a body that can't be read again: got %q, want the path", got)
	}
}

// No route panics, whatever the path is, and none has the token of a webhook.
func FuzzRoutes(f *testing.F) {
	for _, path := range []string{"", "/", "/api/", "/api/a.b", "/channels/1", "/webhooks/1/", "/apis/g/v1/", "/api/v1/namespaces/a", "/models/:", "//api//v1//"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		req := &http.Request{URL: &url.URL{Path: path}}
		for _, route := range []func(*http.Request) string{vendors.SlackRoute, vendors.DiscordRoute, vendors.KubernetesRoute, vendors.OpenAIRoute, vendors.AWSRoute} {
			if route(req) == "" {
				t.Errorf("%q: got no route, which would hold the whole key", path)
			}
		}
		req.URL.Path = "/api/webhooks/1/" + strings.ReplaceAll(path, "/", "_")
		if got := vendors.DiscordRoute(req); got != "/webhooks/1/*" {
			t.Errorf("%q: got %q, want the token hidden", req.URL.Path, got)
		}
	})
}

// A channel that is limited holds no other.
func ExampleDiscordRoute() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-RateLimit-Bucket", "80c17d2f203122d936070c88c8d10f33") // of all channels
		if strings.Contains(req.URL.Path, "/channels/41771983423143937/") {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	defer server.Close()

	transport := &holdoff.Transport{Route: vendors.DiscordRoute}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	for _, channel := range []string{"41771983423143937", "41771983423143937", "197038439483310086"} {
		resp, err := client.Post(server.URL+"/api/v10/channels/"+channel+"/messages", "application/json", strings.NewReader(`{}`))
		if _, held := errors.AsType[*holdoff.HeldError](err); held {
			fmt.Println(channel, "is held")
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(channel, resp.StatusCode)
	}
	// Output:
	// 41771983423143937 429
	// 41771983423143937 is held
	// 197038439483310086 200
}
