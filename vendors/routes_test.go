package vendors_test

import (
	"net/http"
	"net/url"
	"testing"

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
		{vendors.DiscordRoute, "POST", "/api/v10/channels/41771983423143937/messages", "/channels/41771983423143937/messages"},
		{vendors.DiscordRoute, "DELETE", "/api/v10/channels/41771983423143937/messages/42", "/channels/41771983423143937/messages/*"},
		{vendors.DiscordRoute, "GET", "/api/v10/guilds/197038439483310086", "/guilds/197038439483310086"},
		{vendors.DiscordRoute, "POST", "/api/webhooks/223704706495545344/3d89bb7572e0fb30d8128367b3b1b44f", "/webhooks/223704706495545344/*"},
		{vendors.DiscordRoute, "GET", "/api/v10/users/@me", "/api/v10/users/*"},
		{vendors.KubernetesRoute, "POST", "/api/v1/namespaces/default/pods/web-7d4b9/eviction", "POST_pods/eviction"},
		{vendors.KubernetesRoute, "GET", "/api/v1/namespaces/default/pods", "GET_pods"},
		{vendors.KubernetesRoute, "GET", "/api/v1/namespaces/default", "GET_namespaces"},
		{vendors.KubernetesRoute, "PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/scheduler", "PUT_leases"},
		{vendors.KubernetesRoute, "GET", "/k8s/clusters/c-1/api/v1/nodes/n/status", "GET_nodes/status"},
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

func ExampleDiscordRoute() {
	transport := &holdoff.Transport{Route: vendors.DiscordRoute}
	client := &http.Client{Transport: transport}
	_ = client
}
