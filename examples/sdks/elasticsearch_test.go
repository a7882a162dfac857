package sdks_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

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

// Of several nodes, one that is down is what the client's own retries go round:
// with several addresses leave them on, above a Transport that does not retry.
func TestElasticsearchNodes(t *testing.T) {
	for _, test := range []struct {
		name string
		set  setting
		want []string
	}{
		{"retried below the client", setting{holdoff: 4}, []string{"a.example", "a.example", "a.example", "a.example"}},
		{"retried by the client", setting{holdoff: 1, own: true}, []string{"a.example", "b.example"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked []string
				s := serve(t, func(_ int, r *http.Request) answer {
					asked = append(asked, r.Host)
					if r.Host == "a.example" {
						return answer{http.StatusServiceUnavailable, elasticSearch.header, elasticSearch.down}
					}
					return answer{http.StatusOK, elasticSearch.header, elasticSearch.ok}
				})
				addresses := elasticsearch.WithAddresses("http://a.example", "http://b.example")
				client, err := sdks.Elasticsearch(test.set.wire(t, s), addresses)
				if test.set.own {
					client, err = elasticsearch.New(addresses,
						elasticsearch.WithTransportOptions(elastictransport.WithTransport(test.set.wire(t, s))))
				}
				if err != nil {
					t.Fatal(err)
				}
				err = esResult(client.Get("i", "1"))
				if !slices.Equal(asked, test.want) || (err == nil) != test.set.own {
					t.Errorf("got %v from %v, want %v", err, asked, test.want)
				}
			})
		})
	}
}
