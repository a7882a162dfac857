package sdks_test

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/go-holdoff/holdoff/examples/sdks"
)

var clientGo = sdk{
	name: "client-go", module: "k8s.io/client-go",
	ok: `{}`, down: `{}`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		config := &rest.Config{Host: "http://k8s.example", Dial: s.dial}
		if set.copied {
			sdks.Kubernetes(config, nil)
		} else {
			config.Wrap(set.over)
		}
		client := restClient(t, config)
		tries := 10 // what requests have by default
		if !set.own && !set.copied {
			tries = 0
		}
		return call{"Get", func(ctx context.Context) error {
				return client.Get().AbsPath("/api/v1/nodes").MaxRetries(tries).Do(ctx).Error()
			}}, call{"Post", func(ctx context.Context) error {
				return client.Post().AbsPath("/api/v1/nodes").Body([]byte(`{}`)).MaxRetries(tries).Do(ctx).Error()
			}}
	},
}

// restClient is what the typed and the dynamic clients are made of.
func restClient(t *testing.T, config *rest.Config) *rest.RESTClient {
	t.Helper()
	config.GroupVersion = &schema.GroupVersion{Version: "v1"}
	config.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
