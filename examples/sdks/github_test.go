package sdks_test

import (
	"context"
	"testing"

	"github.com/google/go-github/v89/github"

	"github.com/go-holdoff/holdoff/examples/sdks"
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
