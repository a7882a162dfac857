package vendors_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/go-holdoff/holdoff/vendors"
)

// Whatever a server sends: no panic, no more than 16 KiB read, a hint that is not
// negative, and the body as it was.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"error":{"type":"insufficient_quota"}}`, `{"retry_after":64.57}`, `{"data":null,"errors":[{"type":"RATE_LIMITED"}]}`,
		`[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`,
		`{"error":{"details":[{"retryDelay":"34s"},{"violations":[{"quotaId":"PerDay"}]}]}}`,
		`{"errors":[{"message":"Throttled"}],"extensions":{"cost":{"requestedQueryCost":1e308,"throttleStatus":{"currentlyAvailable":-1e308,"restoreRate":1e-308}}}}`,
		`<Code>SlowDown</Code>`, `[[[[`, `{"data":{`, `null`, `[null]`, "\xff", ` `,
	} {
		for _, status := range []int{200, 403, 429} {
			f.Add(status, "application/json", "", []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter string, sent []byte) {
		header := http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}, "X-Ratelimit-Reset": {retryAfter}}
		for name, classify := range map[string]vendors.Classifier{"all": everyone(nil), "all, the other way round": vendors.AWS(vendors.Shopify(vendors.GitHub(nil)))} {
			req, resp, b := answered(t, http.MethodPost, graphQL, status, header, bytes.NewReader(sent))
			if v := classify(req, resp, nil); v.Hint < 0 {
				t.Errorf("%s: got %+v, want no negative hint", name, v)
			}
			if b.read > 16<<10 {
				t.Errorf("%s: read %d bytes, want at most 16 KiB", name, b.read)
			}
			if got, err := io.ReadAll(resp.Body); !bytes.Equal(got, sent) || err != nil {
				t.Errorf("%s: got %q, %v; want %q", name, got, err, sent)
			}
		}
	})
}
