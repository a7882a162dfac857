package sdks_test

import (
	"context"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/go-holdoff/holdoff/examples/sdks"
)

var openAI = sdk{
	name: "openai-go", module: "github.com/openai/openai-go/v3",
	ok: `{}`, down: `{"error":{"message":"down"}}`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		client := sdks.OpenAI(set.wire(t, s))
		if set.own {
			client = openai.NewClient(option.WithHTTPClient(set.client(t, s)))
		}
		return call{"Models.Get", func(ctx context.Context) error {
				_, err := client.Models.Get(ctx, "m")
				return err
			}}, call{"Chat.Completions.New", func(ctx context.Context) error {
				return complete(ctx, client)
			}}
	},
}

func complete(ctx context.Context, client openai.Client) error {
	_, err := client.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
		Model:    "m",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")},
	})
	return err
}
