package vendors_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

func TestKubernetes_RefusedEvictionTeachesNothing(t *testing.T) {
	t.Parallel()
	const pod = "https://k8s.example/api/v1/namespaces/ns/pods/p"
	for _, test := range []struct {
		name, method, url string
		status            int
		concerned         bool
	}{
		{"by its budget", "POST", pod + "/eviction", 429, true},
		{"by several budgets", "POST", pod + "/eviction", 500, true},
		{"behind a proxy's path", "POST", "https://rancher.example/k8s/clusters/c/api/v1/namespaces/ns/pods/p/eviction", 429, true},
		{"by an API server that is down", "POST", pod + "/eviction", 503, false},
		{"not found", "POST", pod + "/eviction", 404, false},
		{"evicted", "POST", pod + "/eviction", 201, false},
		{"another subresource", "POST", pod + "/binding", 429, false},
		{"a pod of that name", "POST", "https://k8s.example/api/v1/namespaces/ns/pods/eviction", 429, false},
		{"another kind", "POST", "https://k8s.example/apis/x/v1/namespaces/ns/things/p/eviction", 429, false},
		{"another method", "GET", pod + "/eviction", 429, false},
	} {
		req, resp, _ := answered(t, test.method, test.url, test.status, http.Header{"Retry-After": {"10"}}, strings.NewReader(""))
		want := holdoff.DefaultClassify(req, resp, nil)
		if test.concerned {
			want.Lesson, want.Reason = holdoff.Nothing, "eviction refused"
		}
		if got := vendors.Kubernetes(nil)(req, resp, nil); got != want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, want)
		}
	}
	req, _, _ := answered(t, "POST", pod+"/eviction", 429, nil, nil)
	if got, want := vendors.Kubernetes(nil)(req, nil, io.EOF), holdoff.DefaultClassify(req, nil, io.EOF); got != want {
		t.Errorf("an error: got %+v, want %+v", got, want)
	}
}
