package scope

import (
	"net/http"
	"strings"
)

const (
	// maxSegments is how much of a path tells one route from another.
	maxSegments = 4
	// maxWord bounds the letters in a row of a segment that is a word and not a token,
	// and maxCapitals those of a word in capitals.
	maxWord     = 32
	maxCapitals = 16
	// minRandom letters are enough to see that their case is a random one: fewer may be
	// a name like "getItemById".
	minRandom = 16
	// maxName bounds names that the server or the user gives.
	maxName = 96
	// unnamed stands for a segment that is not the same in all requests of a route.
	unnamed = "*"
)

// Route returns the shape of a path: what looks like an id or a token becomes "*", as
// in "/v1/users/*/posts". A path that is its own shape is returned as it is, without
// an allocation.
func Route(path string) string {
	path, same := head(path)
	if same {
		return path
	}
	return shape(path, "")
}

// Point returns where a request stands by the shape of its path, and by who sends it. It
// makes one allocation at most, beside what an escaped path costs.
func Point(req *http.Request) Scope {
	var text [tagLength]byte
	n := tag(&text, req)
	path, same := head(req.URL.EscapedPath())
	if same {
		return Scope{Route: path, Credential: string(text[:n])}
	}
	both := shape(path, string(text[:n]))
	return Scope{Route: both[:len(both)-n], Credential: both[len(both)-n:]}
}

// head returns as much of a path as tells one route from another, and whether it is its
// own shape.
func head(path string) (head string, same bool) {
	if path == "" || path == "/" {
		return "/", true
	}
	end, same := len(path), true
	segments := 0
	for i := 0; i < len(path); {
		next := i + 1 + indexSlash(path[min(i+1, len(path)):])
		if segments++; segments > maxSegments {
			end = i
			break
		}
		same = same && path[i] == '/' && isWord(path[i+1:next])
		i = next
	}
	return path[:end], same
}

// indexSlash returns where the next segment begins.
func indexSlash(s string) int {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return i
	}
	return len(s)
}

// shape returns the shape of a path, with something behind it.
func shape(path, behind string) string {
	var b strings.Builder
	b.Grow(len(path) + 1 + len(behind))
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		b.WriteByte('/')
		if isWord(segment) {
			b.WriteString(segment)
		} else {
			b.WriteString(unnamed)
		}
	}
	b.WriteString(behind)
	return b.String()
}

// isWord reports whether a segment names a part of an API, and is no id or token: it
// has no digit, except in a version like "v1" or "v2beta1", nothing that has to be
// escaped, no long run of letters, and not a case that changes at random. A word that
// is taken for a token costs little: its route is a wider one. A token that is taken
// for a word would be seen in logs.
func isWord(segment string) bool {
	if isVersion(segment) {
		return true
	}
	var letters, capitals, changes int // of the segment
	var run, capitalRun int            // letters in a row
	for i, c := range []byte(segment) {
		upper := isUpper(c)
		switch {
		case upper || 'a' <= c && c <= 'z':
			if run > 0 && upper != isUpper(segment[i-1]) {
				changes, capitalRun = changes+1, 0
			}
			letters, run = letters+1, run+1
			if upper {
				capitals, capitalRun = capitals+1, capitalRun+1
			}
			if run > maxWord || capitalRun > maxCapitals {
				return false
			}
			// In names, most words begin with a capital and go on without.
			if letters >= minRandom && capitals < letters && 3*max(changes, capitals) > letters {
				return false
			}
		case c == '.' || c == '-' || c == '_' || c == ':' || c == '$' || c == '~':
			run, capitalRun = 0, 0
		default:
			return false
		}
	}
	return len(segment) <= maxName
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

// isVersion reports whether a segment is a version of an API: "v1", "v1.1", "v2beta1".
func isVersion(segment string) bool {
	if len(segment) < 2 || len(segment) > 10 || (segment[0] != 'v' && segment[0] != 'V') || !isDigit(segment[1]) {
		return false
	}
	digits := 0
	for _, c := range []byte(segment[1:]) {
		switch {
		case isDigit(c):
			if digits++; digits > 3 {
				return false
			}
		case c == '.' || 'a' <= c && c <= 'z':
			digits = 0
		default:
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Clean returns a name that a server or a user gave in a form that the route of a scope
// can have: printable ASCII without spaces, not too long, and with no beginning that
// marks another part of a scope. Names of models begin with "@".
func Clean(name string) string {
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, name[:min(len(name), maxName)])
	if name != "" && strings.Contains(credentialMark+replicaMark+namedMark, name[:1]) {
		return "_" + name[1:]
	}
	return name
}
