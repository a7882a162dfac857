package sdks

import (
	"net/http"

	"github.com/hashicorp/vault/api"

	"github.com/go-holdoff/holdoff"
)

// Vault makes a client of vault/api without retries of its own. config's TLS
// must be set up before, since api.Config can't find it below a wrapper.
func Vault(config *api.Config, transport *holdoff.Transport) (*api.Client, error) {
	config.MaxRetries = 0
	transport.Base = config.HttpClient.Transport
	transport.Classify = ClassifyVault
	config.HttpClient.Transport = transport
	return api.NewClient(config)
}

// ClassifyVault is [holdoff.DefaultClassify] that retries, as Vault's client
// does, what a standby refused because it had not caught up.
func ClassifyVault(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
	v := holdoff.DefaultClassify(req, resp, err)
	if err == nil && resp.StatusCode == http.StatusPreconditionFailed {
		v.Retry, v.Reason = true, "standby is behind"
	}
	return v
}
