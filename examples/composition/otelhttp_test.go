package composition

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-holdoff/holdoff"
)

// otelhttp inside: a span per attempt. Package telemetry/otel does this, and more.
func Example_otelhttpInside() {
	spans := tracetest.NewInMemoryExporter()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	server := flaky(func(http.ResponseWriter, *http.Request) {})
	defer server.Close()

	resend := otelhttp.WithClientTrace(func(ctx context.Context) *httptrace.ClientTrace {
		if n := holdoff.Attempt(ctx); n > 0 {
			trace.SpanFromContext(ctx).SetAttributes(semconv.HTTPRequestResendCount(n))
		}
		return &httptrace.ClientTrace{}
	})
	client := &http.Client{Transport: &holdoff.Transport{
		Base: otelhttp.NewTransport(http.DefaultTransport, otelhttp.WithTracerProvider(tracers), resend),
	}}

	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	for _, span := range spans.GetSpans() {
		fmt.Print(span.Name)
		for _, a := range span.Attributes {
			if a.Key == semconv.HTTPResponseStatusCodeKey || a.Key == semconv.HTTPRequestResendCountKey {
				fmt.Print(" ", a.Key, "=", a.Value.AsInt64())
			}
		}
		fmt.Println()
	}
	// Output:
	// HTTP GET http.response.status_code=503
	// HTTP GET http.request.resend_count=1 http.response.status_code=200
}

// Inside there is a span and a traceparent per attempt; outside one for all of
// them, in which failures and waits can't be told.
func TestOtelhttp(t *testing.T) {
	for _, tt := range []struct {
		name         string
		wire         func(host http.RoundTripper, wrap func(http.RoundTripper) http.RoundTripper) http.RoundTripper
		spans        int
		traceparents int
	}{
		{"inside", func(host http.RoundTripper, wrap func(http.RoundTripper) http.RoundTripper) http.RoundTripper {
			return &holdoff.Transport{Base: wrap(host)}
		}, 3, 3},
		{"outside", func(host http.RoundTripper, wrap func(http.RoundTripper) http.RoundTripper) http.RoundTripper {
			return wrap(&holdoff.Transport{Base: host})
		}, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recorder := tracetest.NewSpanRecorder()
				tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
				host := &api{answer: func(n int, _ *http.Request) *http.Response {
					if n < 3 {
						return respond(503)
					}
					return respond(200)
				}}
				wrap := func(base http.RoundTripper) http.RoundTripper {
					return otelhttp.NewTransport(base, otelhttp.WithTracerProvider(tracers), otelhttp.WithPropagators(propagation.TraceContext{}))
				}
				wantStatus(t, tt.wire(host, wrap), "http://h/", 200)
				if got := len(recorder.Ended()); got != tt.spans || len(recorder.Started()) != got {
					t.Errorf("got %d spans of which %d ended, want %d", len(recorder.Started()), got, tt.spans)
				}
				parents := map[string]bool{}
				for _, req := range host.sends {
					parents[req.Header.Get("Traceparent")] = true
				}
				if len(host.sends) != 3 || len(parents) != tt.traceparents {
					t.Errorf("got %d sends with %d traceparents, want 3 with %d", len(host.sends), len(parents), tt.traceparents)
				}
			})
		})
	}
}
