package holdoffprom

import "net/http"

// oneScope is a Route for tests of keys that have one scope.
func oneScope(*http.Request) string { return "" }
