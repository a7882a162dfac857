package sdks_test

import (
	"context"
	"net/http"
	"os"
	"testing"

	"github.com/stripe/stripe-go/v85"

	"github.com/go-holdoff/holdoff"
)

func TestMain(m *testing.M) {
	// What the SDKs read from the environment is the tests' own.
	for name, value := range map[string]string{
		"OPENAI_API_KEY": "key", "ANTHROPIC_API_KEY": "key",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		os.Setenv(name, value)
	}
	for _, name := range []string{"AWS_CA_BUNDLE", "AWS_PROFILE", "VAULT_ADDR", "VAULT_CACERT", "VAULT_MAX_RETRIES", "ELASTICSEARCH_URL"} {
		os.Unsetenv(name)
	}
	stripe.DefaultLeveledLogger = &stripe.LeveledLogger{}
	os.Exit(m.Run())
}

// sdk is one that is measured.
type sdk struct {
	name   string
	module string // whose version is in the table
	bare   bool   // it has no retries of its own
	header http.Header
	ok     string // a body that all calls take
	down   string // the body of a 503
	busy   string // the body of a 429; down, where it is not given
	// open makes a client over the server, with or without its own retries, and
	// a Transport between the two or none.
	open func(t *testing.T, s *server, set setting) (read, write call)
}

// call is one that the SDK offers.
type call struct {
	name string
	do   func(context.Context) error
}

// setting says which layers retry.
type setting struct {
	own     bool // the SDK does, as it would without being told
	holdoff int  // MaxAttempts of the Transport; 0 where there is none
	copied  bool // the SDK is wrapped as this package does it
}

// over puts the setting's Transport over base.
func (s setting) over(base http.RoundTripper) http.RoundTripper {
	if s.holdoff == 0 {
		return base
	}
	return &holdoff.Transport{Base: base, MaxAttempts: s.holdoff}
}

// wire is what an SDK without a base of its own sends through.
func (s setting) wire(t *testing.T, to *server) http.RoundTripper {
	return s.over(to.reach(t, &http.Transport{}))
}

// client is over the wire, for SDKs that take one.
func (s setting) client(t *testing.T, to *server) *http.Client {
	return &http.Client{Transport: s.wire(t, to)}
}

var all = []sdk{
	gitHub, stripeGo, openAI, anthropicGo, slackGo, awsGo, elasticSearch, vaultAPI, minioGo, twilioGo, clientGo,
}
