package sdks_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/examples/sdks"
	"github.com/go-holdoff/holdoff/vendors"
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

// What the server says in OpenAI's headers counts, without set-up.
func TestOpenAISays(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		header http.Header
		sends  int
		wait   time.Duration
	}{
		{"retry-after-ms", 429, http.Header{"Retry-After-Ms": {"1500"}, "Retry-After": {"2"}}, 2, 1500 * time.Millisecond},
		{"not to retry a 500", 500, http.Header{"X-Should-Retry": {"false"}}, 1, 0},
		{"to retry a 409", 409, http.Header{"X-Should-Retry": {"true"}, "Retry-After-Ms": {"100"}}, 2, 100 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, first(answer{test.status, test.header, openAI.down}, openAI))
				client := sdks.OpenAI(setting{holdoff: 4}.wire(t, s))
				begun := time.Now()
				err := complete(t.Context(), client)
				if (err == nil) != (test.sends == 2) || s.sends() != test.sends {
					t.Errorf("got %v and %d sends, want %d", err, s.sends(), test.sends)
				}
				if waited := time.Since(begun); waited < test.wait || waited > 2*test.wait+100*time.Millisecond {
					t.Errorf("waited %v, want %v and jitter", waited, test.wait)
				}
			})
		})
	}
}

// Without credit no retry helps. vendors.OpenAI lets the call fail at once, and the
// SDK still reads why.
func TestOpenAIWithoutCredit(t *testing.T) {
	const body = `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`
	for _, test := range []struct {
		name     string
		classify vendors.Classifier
		sends    int
	}{
		{"without", nil, 4},
		{"with vendors.OpenAI", vendors.OpenAI(nil), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, func(int, *http.Request) answer {
					return answer{http.StatusTooManyRequests, http.Header{"Content-Type": {"application/json"}}, body}
				})
				client := sdks.OpenAI(&holdoff.Transport{Base: setting{}.wire(t, s), Classify: test.classify})
				err := complete(t.Context(), client)
				said, ok := errors.AsType[*openai.Error](err)
				if !ok || said.Code != "insufficient_quota" || s.sends() != test.sends {
					t.Errorf("got %v after %d sends, want insufficient_quota after %d", err, s.sends(), test.sends)
				}
			})
		})
	}
}
