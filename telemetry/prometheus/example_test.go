package holdoffprom_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/retryapi"
	holdoffprom "github.com/go-holdoff/holdoff/telemetry/prometheus"
	holdoffslog "github.com/go-holdoff/holdoff/telemetry/slog"
)

// Metrics, the page of retryapi and a log, all of one Transport.
func ExampleCollector_Observe() {
	lot, err := retryapi.NewMemoryLot(retryapi.Bounds{})
	if err != nil {
		fmt.Println(err)
		return
	}
	transport := &holdoff.Transport{Park: lot}
	collector := &holdoffprom.Collector{Transport: transport}
	page := &retryapi.Handler{Transport: transport, Lot: lot}
	logs := holdoffslog.Observe(slog.Default())
	transport.Observe = func(ctx context.Context, e holdoff.Event) {
		collector.Observe(ctx, e)
		page.Observe(ctx, e)
		logs(ctx, e)
	}
}

func Example() {
	// What a service does:
	transport := &holdoff.Transport{}
	collector := &holdoffprom.Collector{Transport: transport}
	transport.Observe = collector.Observe
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}

	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	metrics := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer metrics.Close()

	// A server that asks to be left alone, and what Prometheus sees of it:
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer api.Close()
	if resp, err := client.Get(api.URL); err == nil {
		resp.Body.Close()
	}
	scrape, err := http.Get(metrics.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer scrape.Body.Close()
	text, _ := io.ReadAll(scrape.Body)
	for line := range strings.Lines(strings.ReplaceAll(string(text), api.URL, "http://api")) {
		if strings.HasPrefix(line, "holdoff_keys{") || strings.HasPrefix(line, "holdoff_attempts_total{") {
			fmt.Print(line)
		}
	}
	// Output:
	// holdoff_attempts_total{code="429",key="http://api"} 1
	// holdoff_keys{key="http://api",phase="held",scope="route"} 1
}
