package sdks_test

import (
	"context"
	"net/http"
	"testing"

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
