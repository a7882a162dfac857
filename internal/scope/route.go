package scope

import "strings"

const (
	// maxSegments is how much of a path tells one route from another.
	maxSegments = 4
	// maxWord bounds the letters in a row of a segment that is a word and not a token,
	// and maxCapitals those of a word in capitals.
	maxWord     = 32
	maxCapitals = 16
	// maxName bounds names that the server or the user gives.
	maxName = 96
	// unnamed stands for a segment that is not the same in all requests of a route.
	unnamed = "*"
)

// Route returns the shape of a path: what looks like an id or a token becomes "*", as
// in "/v1/users/*/posts". A path that is its own shape is returned as it is, without
// an allocation.
func Route(path string) string {
	if path == "" || path == "/" {
		return "/"
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
	if same {
		return path[:end]
	}
	return shape(path[:end])
}

// indexSlash returns where the next segment begins.
func indexSlash(s string) int {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return i
	}
	return len(s)
}

func shape(path string) string {
	var b strings.Builder
	b.Grow(len(path) + 1)
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		b.WriteByte('/')
		if isWord(segment) {
			b.WriteString(segment)
		} else {
			b.WriteString(unnamed)
		}
	}
	return b.String()
}

// isWord reports whether a segment names a part of an API, and is no id or token: it
// has no digit, save in a version like "v1" or "v2beta1", nothing that has to be
// escaped, no long run of letters, and not a case that changes at random.
func isWord(segment string) bool {
	if isVersion(segment) {
		return true
	}
	run, capitals, changes := 0, 0, 0
	for i, c := range []byte(segment) {
		upper := 'A' <= c && c <= 'Z'
		switch {
		case upper || 'a' <= c && c <= 'z':
			if run > 0 && upper != ('A' <= segment[i-1] && segment[i-1] <= 'Z') {
				changes, capitals = changes+1, 0
			}
			if run++; upper {
				capitals++
			}
			if run > maxWord || capitals > maxCapitals || (run >= maxCapitals && 3*changes > run) {
				return false
			}
		case c == '.' || c == '-' || c == '_' || c == ':' || c == '$' || c == '~':
			run, capitals, changes = 0, 0, 0
		default:
			return false
		}
	}
	return len(segment) <= maxName
}

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

// Clean returns a name that a server or a user gave in a form that a scope can have:
// printable ASCII without spaces, and not too long.
func Clean(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, name[:min(len(name), maxName)])
	return clean
}
