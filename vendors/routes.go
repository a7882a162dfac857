package vendors

import (
	"net/http"
	"strings"

	"github.com/go-holdoff/holdoff"
)

// Routes for Transport.Route, for APIs whose limits the shape of a path does not tell.
// Each falls back on [holdoff.RouteOf].

// SlackRoute is the method: Slack limits each by itself, per workspace and app, which are
// the credential. Its paths would do as well, but for those of a proxy.
//
// Source: docs.slack.dev, "Rate limits".
func SlackRoute(req *http.Request) string {
	_, method, ok := strings.Cut(req.URL.Path, "/api/")
	if !ok || method == "" || strings.Contains(method, "/") {
		return holdoff.RouteOf(req)
	}
	return "/api/" + method
}

// DiscordRoute is the shape of the path with the ids of what Discord counts by itself: the
// channel, the guild and the webhook. A webhook's token is no part of it. Where an
// answer has X-RateLimit-Bucket, that wins.
//
// Source: docs.discord.com, "Rate Limits".
func DiscordRoute(req *http.Request) string {
	parts := strings.Split(req.URL.Path, "/")
	for i := 1; i < len(parts); i++ {
		switch parts[i-1] {
		case "channels", "guilds", "webhooks":
			if isNumber(parts[i]) {
				rest := *req.URL
				rest.Path = "/" + strings.Join(parts[i+1:], "/")
				shape := holdoff.RouteOf(&http.Request{URL: &rest})
				return "/" + parts[i-1] + "/" + parts[i] + strings.TrimSuffix(shape, "/")
			}
		}
	}
	return holdoff.RouteOf(req)
}

func isNumber(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == ""
}

// KubernetesRoute is the method with the resource and, where there is one, the
// subresource, as in "POST pods/eviction": what concerns one object says nothing of
// another kind. The namespace and the names are no part of it.
//
// Source: kubernetes.io, "API Concepts".
func KubernetesRoute(req *http.Request) string {
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	for i, part := range parts {
		// /api/{version}/… or /apis/{group}/{version}/…, also below the path of a proxy
		if rest := 0; part == "api" || part == "apis" {
			if rest = i + 2; part == "apis" {
				rest++
			}
			if rest < len(parts) {
				return req.Method + "_" + resource(parts[rest:])
			}
		}
	}
	return holdoff.RouteOf(req)
}

// resource returns the resource, and the subresource, of the end of a path.
func resource(parts []string) string {
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	if len(parts) > 2 {
		return parts[0] + "/" + parts[2]
	}
	return parts[0]
}

// OpenAIRoute is the shape of the path with the name of the model or the deployment, where
// the path has it, as Azure's and Gemini's do. OpenAI's own paths do not: name the model
// by [holdoff.WithScope], which wins over any route.
//
// Source: platform.openai.com, "Rate limits"; learn.microsoft.com, "Azure OpenAI quotas and limits".
func OpenAIRoute(req *http.Request) string {
	parts := strings.Split(req.URL.Path, "/")
	for i := 1; i < len(parts); i++ {
		if parts[i-1] == "deployments" || parts[i-1] == "models" {
			name, action, _ := strings.Cut(parts[i], ":")
			if action != "" {
				action = ":" + action
			}
			if name != "" {
				return "/" + parts[i-1] + "/" + name + action
			}
		}
	}
	return holdoff.RouteOf(req)
}
