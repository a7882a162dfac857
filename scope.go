package holdoff

import (
	"net/http"

	"github.com/go-holdoff/holdoff/internal/scope"
)

// point returns where a request stands among the scopes of its key: nowhere in
// particular where Route says so.
func (t *Transport) point(req *http.Request) scope.Scope {
	route := scope.Route(req.URL.Path)
	if t.Route != nil {
		if route = scope.Clean(t.Route(req)); route == "" {
			return scope.Scope{}
		}
	}
	return scope.Scope{Route: route, Credential: scope.Credential(req)}
}
