package admission

import (
	"strings"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// maxNames bounds the routes of which a key remembers the limit that they draw on.
const maxNames = 256

// learnName remembers the name that a server gave to the limit of a route: it says more
// than the route. Routes with one name have one limit. An answer may speak of several
// limits; one that refuses speaks of the one that was met.
func (k *Key) learnName(o Outcome) {
	if o.Limit == "" || o.At.Route == "" {
		return
	}
	known := k.names[o.At.Route]
	refused := o.Lesson == hold.Refused || o.Lesson == hold.Failed
	if known != "" && !refused {
		return
	}
	if known == "" && len(k.names) >= maxNames {
		if !refused {
			return
		}
		for route := range k.names { // a refusal is news; any other makes room
			delete(k.names, route)
			break
		}
	}
	if k.names == nil {
		k.names = make(map[string]string)
	}
	k.names[strings.Clone(o.At.Route)] = scope.Named(o.Limit)
}

// point returns where a request stands: with this process's name, and with that of its
// limit where the server has told it. Where the key has one scope, it stands nowhere in
// particular.
func (k *Key) point(at scope.Scope) scope.Scope {
	if at == (scope.Scope{}) {
		return at
	}
	if name := k.names[at.Route]; name != "" {
		at.Route = name
	}
	at.Replica = k.replica()
	return at
}
