package sdks_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v9"
	"github.com/elastic/go-elasticsearch/v9/esapi"

	"github.com/go-holdoff/holdoff/examples/sdks"
)

var elasticSearch = sdk{
	name: "go-elasticsearch", module: "github.com/elastic/go-elasticsearch/v9",
	header: http.Header{"X-Elastic-Product": {"Elasticsearch"}},
	ok:     `{}`, down: `{}`,
	open: func(t *testing.T, s *server, set setting) (read, write call) {
		address := elasticsearch.WithAddresses("http://es.example")
		client, err := sdks.Elasticsearch(set.wire(t, s), address)
		if set.own {
			client, err = elasticsearch.New(address,
				elasticsearch.WithTransportOptions(elastictransport.WithTransport(set.wire(t, s))))
		}
		if err != nil {
			t.Fatal(err)
		}
		return call{"Get", func(ctx context.Context) error {
				return esResult(client.Get("i", "1", client.Get.WithContext(ctx)))
			}}, call{"Index", func(ctx context.Context) error {
				return esResult(client.Index("i", strings.NewReader(`{"a":1}`), client.Index.WithContext(ctx)))
			}}
	},
}

func esResult(resp *esapi.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.IsError() {
		return errors.New(resp.Status())
	}
	return nil
}
