package sdks_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/openai/openai-go/v3"
	"k8s.io/client-go/rest"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/examples/sdks"
	"github.com/go-holdoff/holdoff/vendors"
)

// routed serves a server that refuses what limited says, for 30 s, and returns a
// Transport to it. It tells of each request that is not sent.
func routed(t *testing.T, route func(*http.Request) string, limited func(req *http.Request, body string) bool) (*server, *holdoff.Transport) {
	t.Helper()
	var s *server
	s = serve(t, func(n int, req *http.Request) answer {
		header := http.Header{"Content-Type": {"application/json"}}
		if limited(req, string(s.requests[n].body)) {
			header.Set("Retry-After", "30")
			return answer{http.StatusTooManyRequests, header, `{"ok":false,"error":{"message":"slow down"}}`}
		}
		return answer{http.StatusOK, header, `{"ok":true}`}
	})
	return s, &holdoff.Transport{Base: &http.Transport{DialContext: s.dial, DialTLSContext: s.dial}, Route: route, MaxWait: -1}
}

func isHeld(err error) bool {
	_, held := errors.AsType[*holdoff.HeldError](err)
	return held
}

// What limits one method of Slack holds that method, and no other.
func TestSlackMethodHoldsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, transport := routed(t, vendors.SlackRoute, func(req *http.Request, _ string) bool {
			return strings.HasSuffix(req.URL.Path, "chat.postMessage")
		})
		client := sdks.Slack("xoxb-1", transport)
		_, _, err := client.PostMessageContext(t.Context(), "C1")
		if err == nil || s.sends() != 1 {
			t.Fatalf("got %v after %d sends, want a refusal", err, s.sends())
		}
		if _, _, err = client.PostMessageContext(t.Context(), "C1"); !isHeld(err) || s.sends() != 1 {
			t.Errorf("got %v after %d sends, want the method held", err, s.sends())
		}
		if _, err = client.GetUserInfoContext(t.Context(), "U1"); isHeld(err) || s.sends() != 2 {
			t.Errorf("got %v after %d sends, want another method sent", err, s.sends())
		}
		transport.CloseIdleConnections()
	})
}

// What limits one action of DynamoDB holds that action, and no other, though all have one
// path.
func TestAWSActionHoldsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ int, req *http.Request) answer {
			if strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".DescribeTable") {
				return answer{http.StatusBadRequest, http.Header{"Retry-After": {"300"}}, `{"__type":"com.amazon.coral.availability#ThrottlingException"}`}
			}
			return answer{http.StatusOK, http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, `{}`}
		})
		client := dynamodb.NewFromConfig(awsConfig(t, s, setting{copied: true}))
		describe := func() error {
			_, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: new("t")})
			return err
		}
		if err := describe(); err == nil || s.sends() != 1 {
			t.Fatalf("got %v after %d sends, want a refusal, and then a hold", err, s.sends())
		}
		if err := describe(); !isHeld(err) || s.sends() != 1 {
			t.Errorf("got %v after %d sends, want the action held", err, s.sends())
		}
		if _, err := client.ListTables(t.Context(), &dynamodb.ListTablesInput{}); err != nil || s.sends() != 2 {
			t.Errorf("got %v after %d sends, want another action sent", err, s.sends())
		}
	})
}

// What limits one model holds that model, where the caller names it.
func TestOpenAIModelHoldsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, transport := routed(t, vendors.OpenAIRoute, func(_ *http.Request, body string) bool { return strings.Contains(body, `"big"`) })
		client := sdks.OpenAI(transport)
		ask := func(model string) error {
			_, err := client.Chat.Completions.New(holdoff.WithScope(t.Context(), model), openai.ChatCompletionNewParams{
				Model:    model,
				Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")},
			})
			return err
		}
		if err := ask("big"); err == nil || s.sends() != 1 {
			t.Fatalf("got %v after %d sends, want a refusal", err, s.sends())
		}
		if err := ask("big"); !isHeld(err) || s.sends() != 1 {
			t.Errorf("got %v after %d sends, want the model held", err, s.sends())
		}
		if err := ask("small"); err != nil || s.sends() != 2 {
			t.Errorf("got %v after %d sends, want another model sent", err, s.sends())
		}
		transport.CloseIdleConnections()
	})
}

// What limits one channel of Discord holds that channel, and no other.
func TestDiscordChannelHoldsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, transport := routed(t, vendors.DiscordRoute, func(req *http.Request, _ string) bool {
			return strings.Contains(req.URL.Path, "/41771983423143937/")
		})
		post := func(channel string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://discord.example/api/v10/channels/"+channel+"/messages", strings.NewReader(`{}`))
			if err != nil {
				return err
			}
			resp, err := (&http.Client{Transport: transport}).Do(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
		if err := post("41771983423143937"); err != nil || s.sends() != 1 {
			t.Fatalf("got %v after %d sends, want the refusal", err, s.sends())
		}
		if err := post("41771983423143937"); !isHeld(err) || s.sends() != 1 {
			t.Errorf("got %v after %d sends, want the channel held", err, s.sends())
		}
		if err := post("197038439483310086"); err != nil || s.sends() != 2 {
			t.Errorf("got %v after %d sends, want another channel sent", err, s.sends())
		}
		transport.CloseIdleConnections()
	})
}

// What limits one resource of Kubernetes holds that resource, in all namespaces, and no
// other. Without KubernetesRoute, it holds all of the namespace and nothing else.
func TestKubernetesResourceHoldsNoOther(t *testing.T) {
	for _, test := range []struct {
		name                  string
		route                 func(*http.Request) string
		otherKind, otherSpace bool // whether they are held
	}{
		{"with KubernetesRoute", vendors.KubernetesRoute, false, true},
		{"without", nil, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, transport := routed(t, test.route, func(req *http.Request, _ string) bool {
					return strings.HasSuffix(req.URL.Path, "/configmaps")
				})
				config := &rest.Config{Host: "http://k8s.example", Dial: s.dial}
				config.Wrap(func(http.RoundTripper) http.RoundTripper { return transport })
				client := restClient(t, config)
				create := func(path string) error {
					return client.Post().AbsPath("/api/v1/namespaces/" + path).Body([]byte(`{}`)).MaxRetries(0).Do(t.Context()).Error()
				}
				if err := create("one/configmaps"); err == nil || s.sends() < 1 {
					t.Fatalf("got %v after %d sends, want a refusal", err, s.sends())
				}
				for _, then := range []struct {
					path string
					held bool
				}{{"one/configmaps", true}, {"one/events", test.otherKind}, {"two/configmaps", test.otherSpace}} {
					if err := create(then.path); isHeld(err) != then.held {
						t.Errorf("%s: got %v, want it held: %v", then.path, err, then.held)
					}
				}
				transport.CloseIdleConnections()
			})
		})
	}
}
