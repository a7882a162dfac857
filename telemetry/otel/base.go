package holdoffotel

import (
	"net/http"

	"github.com/hashicorp/go-cleanhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-holdoff/holdoff"
)

// Base returns a RoundTripper for Transport.Base: otelhttp around base, so that
// every attempt is a client span of its own beneath the caller's, with a
// traceparent of its own and, from the first retry on, http.request.resend_count;
// and is measured as http.client.request.duration. If base is nil, it is a
// go-cleanhttp pooled transport.
func (t *Telemetry) Base(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = cleanhttp.DefaultPooledTransport()
	}
	return traced{otelhttp.NewTransport(numbered{base},
		otelhttp.WithTracerProvider(t.options.TracerProvider),
		otelhttp.WithMeterProvider(t.options.MeterProvider),
		otelhttp.WithPropagators(t.options.Propagator),
	), base}
}

// numbered is inside otelhttp, where the attempt's span is the context's.
type numbered struct{ base http.RoundTripper }

func (n numbered) RoundTrip(req *http.Request) (*http.Response, error) {
	if attempt := holdoff.Attempt(req.Context()); attempt > 0 {
		trace.SpanFromContext(req.Context()).SetAttributes(semconv.HTTPRequestResendCount(attempt))
	}
	return n.base.RoundTrip(req)
}

// traced passes on what otelhttp does not.
type traced struct {
	http.RoundTripper
	base http.RoundTripper
}

func (t traced) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}
