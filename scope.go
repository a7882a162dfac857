package holdoff

import (
	"net/http"

	"github.com/go-holdoff/holdoff/internal/scope"
)

// A Scope is the part of a key to which one limit applies: a route, a credential, a
// replica, or what several of them have in common. What is "" is not fixed; the zero
// value is the whole key. See docs/RETRY_LOGIC.md.
type Scope = scope.Scope

// RouteOf returns the route of a request where Transport.Route is nil: the shape of its
// path, in which ids, what is escaped and what looks like a token are "*", as in
// "/v1/users/*/posts".
func RouteOf(req *http.Request) string { return scope.Route(req.URL.EscapedPath()) }

// point returns where a request stands among the scopes of its key: nowhere in
// particular where Route says so.
func (t *Transport) point(req *http.Request, named string) scope.Scope {
	route := named
	switch {
	case route != "":
	case t.Route == nil:
		return scope.Point(req)
	default:
		if route = scope.Clean(t.Route(req)); route == "" {
			return scope.Scope{}
		}
	}
	return scope.Scope{Route: route, Credential: scope.Credential(req)}
}
