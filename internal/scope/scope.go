// Package scope says to which part of a key a limit applies: to a route, to a
// credential, to a replica, or to what several of them have in common.
package scope

import "strings"

// A Scope is the part of a key in which Route, Credential and Replica are the given
// ones. Where one is "", the scope has all of them. The zero value is the whole key.
//
// A point is a scope with a route and a replica, and a credential where the request
// has one. That is the most that one refusal tells.
type Scope struct {
	Route      string // see [Route]; or a name that the server gave: see [Named]
	Credential string // see [Credential]
	Replica    string
}

// Covers reports whether all of t is in s.
func (s Scope) Covers(t Scope) bool { return s.Join(t) == s }

// Join returns the least scope that has all of s and all of t: what both have in
// common stays fixed.
func (s Scope) Join(t Scope) Scope {
	if s.Route != t.Route {
		s.Route = ""
	}
	if s.Credential != t.Credential {
		s.Credential = ""
	}
	if s.Replica != t.Replica {
		s.Replica = ""
	}
	return s
}

// Shared returns the same scope for all replicas.
func (s Scope) Shared() Scope {
	s.Replica = ""
	return s
}

// Reach returns what a limit applies to that was met at a point, where the server says whose
// it is: in the words of Discord's X-RateLimit-Scope. All other words say nothing.
//
// Source: docs.discord.com, "Rate Limits": "user (per bot or user limit), global (per bot or
// user global limit), or shared (per resource limit)".
func Reach(at Scope, word string) Scope {
	switch {
	case word == "shared":
		return Scope{Route: at.Route}
	case word == "global":
		return Scope{Credential: at.Credential}
	case word == "user" && at.Credential != "":
		return at.Shared()
	}
	return at
}

// Clone returns the same scope, of strings of its own: a route may be a part of a much
// longer URL.
func (s Scope) Clone() Scope {
	s.Route, s.Credential = strings.Clone(s.Route), strings.Clone(s.Credential)
	return s
}

// Fixed counts what the scope fixes: of two scopes that cover a request, the one that
// fixes more is the narrower one.
func (s Scope) Fixed() (n int) {
	for _, part := range [...]string{s.Route, s.Credential, s.Replica} {
		if part != "" {
			n++
		}
	}
	return n
}

const (
	separator      = " "
	namedMark      = "="
	credentialMark = "#"
	replicaMark    = "@"
)

// Named returns what stands for the routes of a limit to which the server gave a name.
func Named(name string) string { return namedMark + Clean(name) }

// String is the form of a scope in the name of a record: "" for the whole key, and
// else as in "/v1/search/* #3f0a @replica".
func (s Scope) String() string {
	parts := make([]string, 0, 3)
	if s.Route != "" {
		parts = append(parts, s.Route)
	}
	if s.Credential != "" {
		parts = append(parts, credentialMark+s.Credential)
	}
	if s.Replica != "" {
		parts = append(parts, replicaMark+s.Replica)
	}
	return strings.Join(parts, separator)
}

// Parse reads what String writes.
func Parse(text string) (s Scope) {
	for part := range strings.SplitSeq(text, separator) {
		switch {
		case part == "":
		case part[:1] == credentialMark:
			s.Credential = part[1:]
		case part[:1] == replicaMark:
			s.Replica = part[1:]
		default:
			s.Route = part
		}
	}
	return s
}

// Of returns the name of the record of a scope of key: that of the whole key is key
// itself.
func (s Scope) Of(key string) string { return Record(key, s.String()) }

// Record puts the name of a record together again: see [Split].
func Record(key, scope string) string {
	if scope == "" {
		return key
	}
	return key + separator + scope
}

// Split takes the name of a record apart, into the key and the form of the scope. Keys
// have no space.
func Split(record string) (key, scope string) {
	key, scope, _ = strings.Cut(record, separator)
	return key, scope
}

// Kind says which parts the scope fixes, for labels that must be few: "key", "route",
// "credential", "replica", or several as in "route+credential".
func (s Scope) Kind() string {
	var fixed []string
	for _, part := range [...]struct{ name, value string }{{"route", s.Route}, {"credential", s.Credential}, {"replica", s.Replica}} {
		if part.value != "" {
			fixed = append(fixed, part.name)
		}
	}
	if len(fixed) == 0 {
		return "key"
	}
	return strings.Join(fixed, "+")
}

// Words says in words what a scope has: "" for the whole key.
func (s Scope) Words() string {
	var parts []string
	if route, named := strings.CutPrefix(s.Route, namedMark); named {
		parts = append(parts, "the limit "+route)
	} else if s.Route != "" {
		parts = append(parts, s.Route)
	}
	if s.Credential != "" {
		parts = append(parts, "credential "+s.Credential)
	}
	if s.Replica != "" {
		parts = append(parts, "one replica")
	}
	return strings.Join(parts, " of ")
}
