package sdks_test

import (
	"context"
	"testing"

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
