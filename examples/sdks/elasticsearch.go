package sdks

import (
	"net/http"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v9"
)

// Elasticsearch makes a go-elasticsearch client without retries of its own. It
// is for a single address, such as a load balancer's or Elastic Cloud's: among
// several nodes the client's own retries go to another one, and are better.
func Elasticsearch(transport http.RoundTripper, options ...elasticsearch.Option) (*elasticsearch.Client, error) {
	return elasticsearch.New(append(options, elasticsearch.WithTransportOptions(
		elastictransport.WithTransport(transport),
		elastictransport.WithDisableRetry(),
	))...)
}
