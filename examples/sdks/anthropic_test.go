package sdks_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"github.com/go-holdoff/holdoff/examples/sdks"
)

var anthropicGo = sdk{
	name: "anthropic-sdk-go", module: "github.com/anthropics/anthropic-sdk-go",
	ok: `{}`, down: `{"type":"error","error":{"type":"overloaded_error","message":"down"}}`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		client := sdks.Anthropic(set.wire(t, s))
		if set.own {
			client = anthropic.NewClient(option.WithHTTPClient(set.client(t, s)))
		}
		return call{"Models.Get", func(ctx context.Context) error {
				_, err := client.Models.Get(ctx, "m", anthropic.ModelGetParams{})
				return err
			}}, call{"Messages.New", func(ctx context.Context) error {
				_, err := client.Messages.New(ctx, anthropic.MessageNewParams{
					Model: "m", MaxTokens: 1,
					Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hi"))},
				})
				return err
			}}
	},
}

// An overload has a status of its own, and is waited for as long as it says.
func TestAnthropicIsOverloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, first(answer{529, http.Header{"Retry-After": {"5"}}, anthropicGo.down}, anthropicGo))
		_, message := anthropicGo.open(t, s, setting{holdoff: 4, copied: true})
		begun := time.Now()
		err := message.do(t.Context())
		if waited := time.Since(begun); err != nil || s.sends() != 2 || waited < 5*time.Second {
			t.Errorf("got %v after %d sends and %v, want a success after 2 and 5s", err, s.sends(), waited)
		}
	})
}
