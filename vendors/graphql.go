package vendors

import (
	"bytes"
	"net/http"
	"path"
	"strings"
)

// Servers of GraphQL answer 200 whatever became of the request, and say the rest in
// errors (GraphQL specification, section 7.1.2). Where they refused to execute it,
// there is no data, or null.

// isGraphQL reports whether resp is an answer of JSON to a GraphQL request that may
// be a refusal. Those are short: a body that is known to be long is none.
func isGraphQL(req *http.Request, resp *http.Response) bool {
	if resp.StatusCode != http.StatusOK || resp.ContentLength > peekLimit || req.URL == nil {
		return false
	}
	switch path.Base(req.URL.Path) {
	case "graphql", "graphql.json":
	default:
		return false
	}
	media := mediaType(resp.Header)
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// hasData reports whether a body begins with data, which makes it no refusal
// however long the rest takes.
func hasData(head []byte) bool {
	rest := bytes.TrimLeft(head, " \t\r\n{")
	rest, found := bytes.CutPrefix(rest, []byte(`"data"`))
	if !found {
		return false
	}
	rest = bytes.TrimLeft(rest, " \t\r\n:")
	return len(rest) > 0 && rest[0] == '{'
}

// graphQLError is one of a body's errors. GitHub has its code in type, Shopify in
// extensions.
type graphQLError struct {
	Message    string
	Type       string
	Extensions struct{ Code string }
}
