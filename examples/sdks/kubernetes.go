package sdks

import (
	"net/http"

	"k8s.io/client-go/rest"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

// Kubernetes lets the clients that are made of config send through a
// Transport. They all retry what comes with Retry-After, and that can be
// switched off for single requests only: so the Transport leaves it to them.
func Kubernetes(config *rest.Config, store holdoff.Store) {
	config.Wrap(func(base http.RoundTripper) http.RoundTripper {
		return &holdoff.Transport{Base: base, Store: store, Classify: ClassifyKubernetes, Route: vendors.KubernetesRoute}
	})
}

// ClassifyKubernetes is [vendors.Kubernetes] without retries of what client-go
// retries.
func ClassifyKubernetes(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
	v := vendors.Kubernetes(nil)(req, resp, err)
	if err == nil && resp.Header.Get("Retry-After") != "" {
		v.Retry, v.Reason = false, "retried by client-go"
	}
	return v
}
