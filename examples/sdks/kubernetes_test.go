package sdks_test

import (
	"context"
	"net/http"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/go-holdoff/holdoff"
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

// client-go finds the TLS configuration below the Transport, as it does to
// dial websockets with it.
func TestKubernetesLooksBelow(t *testing.T) {
	config := &rest.Config{Host: "https://k8s.example", TLSClientConfig: rest.TLSClientConfig{ServerName: "k8s.internal"}}
	sdks.Kubernetes(config, nil)
	for name, rt := range map[string]http.RoundTripper{
		"the client's":   transportFor(t, config),
		"the shared one": &holdoff.Transport{},
	} {
		if _, err := utilnet.TLSClientConfig(rt); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := utilnet.DialerFor(rt); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if tls, err := utilnet.TLSClientConfig(transportFor(t, config)); err != nil || tls.ServerName != "k8s.internal" {
		t.Errorf("got %+v, %v; want the configuration of the transport below", tls, err)
	}
}

func transportFor(t *testing.T, config *rest.Config) http.RoundTripper {
	t.Helper()
	rt, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}
