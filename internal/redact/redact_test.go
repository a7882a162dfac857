package redact

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
)

// URLs in the text of an error lose user info, path, query and fragment, and the error
// stays what it is for errors.Is and As.
func TestError_KeepsHostsOnly(t *testing.T) {
	urlError := func(u string) error { return &url.Error{Op: "Get", URL: u, Err: context.DeadlineExceeded} }
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"no URL", errors.New("dial tcp 10.0.0.1:80: connection refused"), "dial tcp 10.0.0.1:80: connection refused"},
		{"path and query", urlError("https://h/p/q?k=v"), `Get "https://h": context deadline exceeded`},
		{"query without path", urlError("https://h?k=v"), `Get "https://h": context deadline exceeded`},
		{"fragment", urlError("https://h#k"), `Get "https://h": context deadline exceeded`},
		{"user info", urlError("https://u:p@h:8080"), `Get "https://h:8080": context deadline exceeded`},
		{"at sign in the query", urlError("https://h/?mail=a@b"), `Get "https://h": context deadline exceeded`},
		{"wrapped", fmt.Errorf("outer: %w", urlError("https://h/p")), `outer: Get "https://h": context deadline exceeded`},
		{"two URLs", fmt.Errorf("from http://a/b to http://c/d?e: %w", context.Canceled), "from http://a to http://c context canceled"},
		{"space in the query", urlError("https://h/?k=v and more"), `Get "https://h": context deadline exceeded`},
		{"quote in the query", urlError(`https://h/?k="v" and <more>`), `Get "https://h": context deadline exceeded`},
		{"proxy", errors.New(`proxyconnect tcp: dial tcp: lookup http://u:p@proxy:3128/x: no such host`), "proxyconnect tcp: dial tcp: lookup http://proxy:3128 no such host"},
		{"what a server sent", errors.New(`net/http: HTTP/1.x transport connection broken: malformed MIME header: missing colon: "Set-Cookie session=s3cret"`), `net/http: HTTP/1.x transport connection broken: malformed MIME header: missing colon: "…"`},
		{"relative", urlError("/p?k=v"), `Get "": context deadline exceeded`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Error(tt.err)
			if got.Error() != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			if !errors.Is(got, tt.err) {
				t.Error("errors.Is no longer finds the error")
			}
			if _, ok := errors.AsType[*url.Error](tt.err); ok && !isURLError(got) {
				t.Error("errors.As no longer finds the url.Error")
			}
		})
	}
	if got := Error(nil); got != nil {
		t.Errorf("Error(nil): got %v, want nil", got)
	}
}

func isURLError(err error) bool {
	_, ok := errors.AsType[*url.Error](err)
	return ok
}
