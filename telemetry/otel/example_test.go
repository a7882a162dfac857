package holdoffotel_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/go-holdoff/holdoff"
	holdoffotel "github.com/go-holdoff/holdoff/telemetry/otel"
)

func Example() {
	spans := tracetest.NewInMemoryExporter()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

	// What a service does, without TracerProvider if its own is the global one:
	transport := &holdoff.Transport{}
	telemetry, err := holdoffotel.New(holdoffotel.Options{Transport: transport, TracerProvider: tracers})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer telemetry.Close()
	transport.Base = telemetry.Base(nil)
	transport.Observe = telemetry.Observe
	client := &http.Client{Transport: transport}

	// A server that fails once, and the trace of a request to it:
	failed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !failed {
			failed = true
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	ctx, span := tracers.Tracer("example").Start(context.Background(), "list invoices")
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if resp, err := client.Do(req); err == nil {
		resp.Body.Close()
	}
	span.End()

	for _, s := range spans.GetSpans() {
		fmt.Println(s.Name)
		for _, a := range s.Attributes {
			if a.Key == "http.response.status_code" || a.Key == "http.request.resend_count" {
				fmt.Printf("  %s = %s\n", a.Key, a.Value.String())
			}
		}
		for _, e := range s.Events {
			fmt.Println("  event:", e.Name)
		}
	}
	// Output:
	// HTTP GET
	//   http.response.status_code = 503
	// HTTP GET
	//   http.request.resend_count = 1
	//   http.response.status_code = 200
	// list invoices
	//   event: holdoff.wait
}
