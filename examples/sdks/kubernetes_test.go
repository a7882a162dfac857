package sdks_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// A pod whose disruption budget refuses its eviction says nothing about the API
// server: a lease is renewed meanwhile. The classifier of a Transport by default does
// not know that, and holds the server for all.
func TestKubernetesEvictionHoldsNobody(t *testing.T) {
	const pod = "/api/v1/namespaces/ns/pods/p"
	for _, test := range []struct {
		name string
		wrap func(config *rest.Config)
		held bool
	}{
		{"wrapped as here", func(config *rest.Config) { sdks.Kubernetes(config, nil) }, false},
		{"with the default", func(config *rest.Config) {
			config.Wrap(func(base http.RoundTripper) http.RoundTripper { return &holdoff.Transport{Base: base} })
		}, false},
		{"with one scope", func(config *rest.Config) {
			config.Wrap(func(base http.RoundTripper) http.RoundTripper {
				return &holdoff.Transport{Base: base, Route: func(*http.Request) string { return "" }}
			})
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, func(_ int, req *http.Request) answer {
					if strings.HasSuffix(req.URL.Path, "/eviction") {
						return answer{http.StatusTooManyRequests, http.Header{"Content-Type": {"application/json"}, "Retry-After": {"10"}},
							`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","details":{"causes":[{"reason":"DisruptionBudget"}],"retryAfterSeconds":10},"code":429}`}
					}
					return answer{http.StatusOK, http.Header{"Content-Type": {"application/json"}}, `{}`}
				})
				config := &rest.Config{Host: "http://k8s.example", Dial: s.dial}
				test.wrap(config)
				client := restClient(t, config)

				short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				err := client.Post().AbsPath(pod + "/eviction").Body([]byte(`{}`)).MaxRetries(0).Do(short).Error()
				if err == nil || s.sends() != 1 {
					t.Fatalf("got %v after %d sends, want a refusal after one", err, s.sends())
				}
				err = client.Put().AbsPath("/apis/coordination.k8s.io/v1/namespaces/ns/leases/l").Body([]byte(`{}`)).Do(short).Error()
				if _, held := errors.AsType[*holdoff.HeldError](err); held != test.held || (err == nil) == test.held {
					t.Errorf("got %v for the lease, want it held: %v", err, test.held)
				}
			})
		})
	}
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
