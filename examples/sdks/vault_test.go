package sdks_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/api"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/examples/sdks"
)

var vaultAPI = sdk{
	name: "vault/api", module: "github.com/hashicorp/vault/api",
	ok: `{"data":{}}`, down: `{"errors":["down"]}`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		config := vaultConfig(t, s)
		var client *api.Client
		var err error
		if set.copied {
			client, err = sdks.Vault(config, &holdoff.Transport{})
		} else {
			if !set.own {
				config.MaxRetries = 0
			}
			config.HttpClient.Transport = set.over(config.HttpClient.Transport)
			client, err = api.NewClient(config)
		}
		if err != nil {
			t.Fatal(err)
		}
		return call{"Logical.Read", func(ctx context.Context) error {
				_, err := client.Logical().ReadWithContext(ctx, "secret/a")
				return err
			}}, call{"Logical.Write", func(ctx context.Context) error {
				_, err := client.Logical().WriteWithContext(ctx, "secret/a", map[string]any{"b": 1})
				return err
			}}
	},
}

func vaultConfig(t *testing.T, s *server) *api.Config {
	t.Helper()
	config := api.DefaultConfig()
	if config.Error != nil {
		t.Fatal(config.Error)
	}
	config.Address = "http://vault.example"
	s.reach(t, config.HttpClient.Transport.(*http.Transport))
	return config
}

// What vault/api does to the http.Transport of its configuration it can't do
// once that is wrapped: it is to be done before.
func TestVaultTLSIsSetUpBeforeWrapping(t *testing.T) {
	tls := &api.TLSConfig{TLSServerName: "vault.internal"}
	config := api.DefaultConfig()
	base := config.HttpClient.Transport.(*http.Transport)
	if err := config.ConfigureTLS(tls); err != nil {
		t.Fatal(err)
	}
	client, err := sdks.Vault(config, &holdoff.Transport{})
	if err != nil {
		t.Fatal(err)
	}
	wrapper := config.HttpClient.Transport.(*holdoff.Transport)
	if wrapper.Base != base || base.TLSClientConfig.ServerName != "vault.internal" {
		t.Errorf("the base is %v for %q, want the one that was set up", wrapper.Base, base.TLSClientConfig.ServerName)
	}

	if err := config.ConfigureTLS(tls); err == nil || !strings.Contains(err.Error(), "unsupported HTTPClient transport type") {
		t.Errorf("after: got %v, want that the transport is not supported", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("SetMaxIdleConnections of a wrapped transport did not panic")
		}
	}()
	client.SetMaxIdleConnections(1)
}

// Vault's own retries are also for standbys that have not caught up.
func TestVaultStandbyIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, first(answer{http.StatusPreconditionFailed, nil, vaultAPI.down}, vaultAPI))
		read, _ := vaultAPI.open(t, s, setting{holdoff: 4, copied: true})
		if err := read.do(t.Context()); err != nil || s.sends() != 2 {
			t.Errorf("got %v after %d sends, want a success after 2", err, s.sends())
		}
	})
}
