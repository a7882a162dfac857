package vendors

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-holdoff/holdoff"
)

// Routes for Transport.Route, for APIs whose limits do not follow the shape of the path.
// Each falls back on [holdoff.RouteOf].

// SlackRoute is the method: Slack limits each by itself, per workspace and app, which are
// the credential. It differs from the default below a proxy with a path of its own, and
// for methods like oauth.v2.access.
//
// Source: docs.slack.dev, "Rate limits".
func SlackRoute(req *http.Request) string {
	path := req.URL.Path
	if i := strings.LastIndex(path, "/api/"); i >= 0 && isSlackMethod(path[i+len("/api/"):]) {
		return path[i:]
	}
	return holdoff.RouteOf(req)
}

// isSlackMethod finds words and versions with dots between. A token has digits and no
// dots, or is a JWT, whose parts have digits.
func isSlackMethod(text string) bool {
	if !strings.Contains(text, ".") || len(text) > 64 {
		return false
	}
	for part := range strings.SplitSeq(text, ".") {
		version, ok := strings.CutPrefix(part, "v")
		isVersion := ok && len(version) <= 2 && isNumber(version)
		if !isVersion && (part == "" || strings.Trim(part, letters) != "") {
			return false
		}
	}
	return true
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// DiscordRoute is the shape of the path with the ids of what Discord counts by itself: the
// channel, the guild and the webhook. A webhook's token is a secret, and no part of it.
// X-RateLimit-Bucket is of no use instead: it is the same for all channels.
//
// Source: docs.discord.com, "Rate Limits".
func DiscordRoute(req *http.Request) string {
	parts := strings.Split(req.URL.Path, "/")
	for i := 1; i < len(parts); i++ {
		kind, id, rest := parts[i-1], parts[i], parts[i+1:]
		switch {
		case kind != "channels" && kind != "guilds" && kind != "webhooks", !isNumber(id):
			continue
		case len(rest) == 0:
			return "/" + kind + "/" + id
		case kind == "webhooks":
			rest[0] = "*"
		}
		shape := holdoff.RouteOf(&http.Request{URL: &url.URL{Path: "/" + strings.Join(rest, "/")}})
		return "/" + kind + "/" + id + strings.TrimSuffix(shape, "/")
	}
	return holdoff.RouteOf(req)
}

func isNumber(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == ""
}

// KubernetesRoute is the method with the resource, the group that it is of and, where
// there is one, the subresource, as in "POST pods/eviction" and "PUT
// coordination.k8s.io/leases": what concerns one kind of objects says nothing of another.
// The version, the namespace and the names are no part of it.
//
// Source: kubernetes.io, "API Concepts".
func KubernetesRoute(req *http.Request) string {
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	for i, part := range parts {
		// /api/{version}/… or /apis/{group}/{version}/…, also below the path of a proxy
		group, version := "", i+1
		if part == "apis" && i+1 < len(parts) {
			group, version = parts[i+1]+"/", i+2
		}
		if (part == "api" || part == "apis") && version+1 < len(parts) && isKubernetesVersion(parts[version]) {
			return cmp.Or(req.Method, http.MethodGet) + "_" + group + resource(parts[version+1:])
		}
	}
	return holdoff.RouteOf(req)
}

func isKubernetesVersion(s string) bool {
	return len(s) > 1 && s[0] == 'v' && isNumber(s[1:2])
}

// resource returns the resource, and the subresource, of the end of a path.
func resource(parts []string) string {
	if parts[0] == "watch" && len(parts) > 1 { // of old clients
		parts = parts[1:]
	}
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
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

// AWSRoute is the action: many services of AWS have one path for all of them, and limit
// each by itself, per account and region. JSON protocols name it in X-Amz-Target
// ("DynamoDB_20120810.Query"); the query protocol has Action in the query or in a form,
// which is read only where it can be read again: where the request has a GetBody. Paths
// with the action in them (REST, CBOR) are told apart by the default.
//
// Source: docs.aws.amazon.com, "Request throttling for the Amazon EC2 API"; smithy.io,
// "AWS JSON 1.1 protocol", "AWS query protocol".
func AWSRoute(req *http.Request) string {
	return cmp.Or(req.Header.Get("X-Amz-Target"), actionIn(req.URL.RawQuery), actionIn(form(req)), holdoff.RouteOf(req))
}

// actionIn returns the action of a request in the query protocol. Anything that is no plain
// name is none.
func actionIn(query string) string {
	for pair := range strings.SplitSeq(query, "&") {
		if name, ok := strings.CutPrefix(pair, "Action="); ok && len(name) <= 64 && strings.Trim(name, letters+"0123456789") == "" {
			return name
		}
	}
	return ""
}

// maxForm is how much of a form is read: SDKs write the action first.
const maxForm = 1 << 10

// form returns the beginning of a form that can be read again, without a pair that is cut.
func form(req *http.Request) string {
	if req.GetBody == nil || !strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return ""
	}
	body, err := req.GetBody()
	if err != nil {
		return ""
	}
	defer body.Close()
	var buf [maxForm]byte
	n, err := io.ReadFull(body, buf[:])
	if err == nil {
		n = max(bytes.LastIndexByte(buf[:], '&'), 0)
	}
	return string(buf[:n])
}
