package sdks_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-github/v89/github"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/examples/sdks"
	"github.com/go-holdoff/holdoff/vendors"
)

var gitHub = sdk{
	name: "go-github", module: "github.com/google/go-github/v89", bare: true,
	ok: `{}`, down: `{"message":"down"}`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		client, err := sdks.GitHub(set.wire(t, s))
		if err != nil {
			t.Fatal(err)
		}
		return call{"Repositories.Get", func(ctx context.Context) error {
				_, _, err := client.Repositories.Get(ctx, "o", "r")
				return err
			}}, call{"Issues.Create", func(ctx context.Context) error {
				_, _, err := client.Issues.Create(ctx, "o", "r", &github.IssueRequest{Title: new("t")})
				return err
			}}
	},
}

// GitHub says with a 403 that it limits, in four ways.
func TestGitHubLimits(t *testing.T) {
	const secondary = `{"message":"You have exceeded a secondary rate limit",
		"documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`
	for _, test := range []struct {
		name     string
		classify vendors.Classifier
		// The refusal.
		header func(now time.Time) http.Header
		body   string
		wait   time.Duration
	}{
		{
			"the primary one, with the time of its end", nil, func(now time.Time) http.Header {
				reset := strconv.FormatInt(now.Add(30*time.Second).Unix(), 10)
				return http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {reset}}
			}, `{}`, 29 * time.Second, // epochs have whole seconds
		},
		{
			"a secondary one, with Retry-After", nil,
			func(time.Time) http.Header { return http.Header{"Retry-After": {"10"}} }, secondary, 10 * time.Second,
		},
		{
			"a secondary one, in its body alone", vendors.GitHub(nil),
			func(time.Time) http.Header { return nil }, secondary, time.Minute,
		},
		{
			"a secondary one, with a reset", vendors.GitHub(nil), func(now time.Time) http.Header {
				reset := strconv.FormatInt(now.Add(20*time.Second).Unix(), 10)
				return http.Header{"X-Ratelimit-Remaining": {"1"}, "X-Ratelimit-Reset": {reset}}
			}, secondary, 19 * time.Second, // epochs have whole seconds
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var header http.Header
				s := serve(t, func(n int, r *http.Request) answer {
					return first(answer{http.StatusForbidden, header, test.body}, gitHub)(n, r)
				})
				header = test.header(time.Now())
				client, err := sdks.GitHub(&holdoff.Transport{
					Base: setting{}.wire(t, s), Classify: test.classify, MaxWait: 2 * time.Minute,
				})
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				_, _, err = client.Repositories.Get(t.Context(), "o", "r")
				if waited := time.Since(begun); err != nil || s.sends() != 2 || waited < test.wait || waited > 2*test.wait {
					t.Errorf("got %v after %d sends and %v, want a success after 2 and at least %v", err, s.sends(), waited, test.wait)
				}
			})
		})
	}
}

// Left to itself, go-github fails calls without sending them when a response
// before said that nothing remains. The transport waits instead.
func TestGitHubChecksLimitsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(int, *http.Request) answer {
			reset := strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10)
			return answer{http.StatusOK, http.Header{
				"X-Ratelimit-Limit": {"60"}, "X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {reset},
			}, `{}`}
		})
		get := func(client *github.Client, err error) (errs [2]error) {
			if err != nil {
				t.Fatal(err)
			}
			for i := range errs {
				_, _, errs[i] = client.Repositories.Get(t.Context(), "o", "r")
			}
			return errs
		}
		errs := get(github.NewClient(github.WithTransport(setting{holdoff: 4}.wire(t, s))))
		if _, ok := errors.AsType[*github.RateLimitError](errs[1]); !ok || errs[0] != nil || s.sends() != 1 {
			t.Errorf("with its check: got %v and %d sends, want a RateLimitError after the first", errs, s.sends())
		}
		errs = get(sdks.GitHub(setting{holdoff: 4}.wire(t, s)))
		if errs != [2]error{} || s.sends() != 3 {
			t.Errorf("without: got %v and %d sends, want both calls sent", errs, s.sends()-1)
		}
	})
}
