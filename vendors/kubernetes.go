package vendors

import (
	"net/http"
	"strings"

	"github.com/go-holdoff/holdoff"
)

// Kubernetes knows that a refused eviction concerns one pod, and not the API server.
// A disruption budget refuses with 429, also with Retry-After: 10; several budgets
// for one pod are answered 500. Both teach [holdoff.Nothing]. Whether the eviction
// is sent again is next's to say. A server that is overloaded says so to all other
// requests as well.
//
// Source: kubernetes.io, "API-initiated Eviction".
func Kubernetes(next Classifier) Classifier {
	next = orDefault(next)
	return func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
		v := next(req, resp, err)
		if err == nil && isEviction(req) && (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusInternalServerError) {
			v.Lesson, v.Reason = holdoff.Nothing, "eviction refused"
		}
		return v
	}
}

// isEviction finds POST …/namespaces/{namespace}/pods/{pod}/eviction, also below the
// path of a proxy.
func isEviction(req *http.Request) bool {
	if req.Method != http.MethodPost || req.URL == nil {
		return false
	}
	parts := strings.Split(req.URL.Path, "/")
	n := len(parts)
	return n >= 5 && parts[n-1] == "eviction" && parts[n-3] == "pods" && parts[n-5] == "namespaces"
}
