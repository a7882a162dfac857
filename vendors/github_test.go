package vendors_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

func TestGitHubSecondaryLimits(t *testing.T) {
	t.Parallel()
	const secondary = `{"message":"You have exceeded a secondary rate limit.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits","status":"403"}`
	for _, test := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   time.Duration // the hint; 0 where it is no limit
	}{
		{"a refusal that only its body tells", 403, http.Header{"X-Ratelimit-Remaining": {"4990"}}, secondary, time.Minute},
		{"the same as 429", 429, nil, secondary, time.Minute},
		{"of an older server", 403, nil, `{"documentation_url":"https://developer.github.com/v3/#abuse-rate-limits"}`, time.Minute},
		{"the server's own word counts", 403, http.Header{"Retry-After": {"7"}}, secondary, 7 * time.Second},
		{"the primary limit", 403, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"30"}}, secondary, 30 * time.Second},
		{"forbidden", 403, nil, `{"message":"Must have admin rights","documentation_url":"https://docs.github.com/rest/repos#delete"}`, 0},
		{"forbidden, with a limit in its words", 403, nil, `{"message":"see secondary-rate-limits for why"}`, 0},
		{"not found", 404, nil, secondary, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			base := &fixed{status: test.status, header: test.header, body: strings.NewReader(test.body)}
			resp := get(t, &vendors.GitHub{Base: base})
			v := holdoff.DefaultClassify(resp.Request, resp, nil)
			if v.Hint != test.want || v.Retry != (test.want > 0) {
				t.Errorf("got %+v, want a hint of %v", v, test.want)
			}
		})
	}
}
