package holdoffotel

import (
	"context"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-holdoff/holdoff"
)

// Observe counts an event; and a wait, or that a request was given up, becomes an
// event of the span that the request's context has, which is its caller's. Set it
// as Transport.Observe, or call it from there.
func (t *Telemetry) Observe(ctx context.Context, e holdoff.Event) {
	switch e.Kind {
	case holdoff.StoreFailed:
		t.failing.Store(true)
		t.failures.Add(ctx, 1, t.own)
		return
	case holdoff.StoreBack:
		t.failing.Store(false)
		return
	}
	server := metric.WithAttributeSet(t.keys.of(e.Key))
	switch e.Kind {
	case holdoff.Attempted:
		t.attempts.Add(ctx, 1, server, metric.WithAttributes(t.result(e)...))
		if e.Attempt > 0 {
			t.retries.Add(ctx, 1, server)
		}
	case holdoff.Waiting:
		t.waits.Add(ctx, 1, server, metric.WithAttributeSet(t.reasons.of(e.Reason)))
		annotate(ctx, "holdoff.wait", e, attribute.Float64("holdoff.wait.least", e.Wait.Seconds()))
	case holdoff.GaveUp:
		t.gaveUp.Add(ctx, 1, server, metric.WithAttributeSet(t.reasons.of(e.Reason)))
		annotate(ctx, "holdoff.gave_up", e)
	case holdoff.HoldStarted, holdoff.HoldChanged:
		if e.Phase != holdoff.Held {
			break
		}
		origin := "own"
		if e.Shared {
			origin = "fleet"
		}
		t.holds.Add(ctx, 1, server, metric.WithAttributes(originKey.String(origin), scopeKey.String(e.Scope.Kind())))
	}
	if e.Waited > 0 {
		t.waited.Record(ctx, e.Waited.Seconds(), server)
	}
}

// result is what came of an attempt: a status code, and error.type where it is a
// failure. Servers can make up codes; what is in no registry means the first of
// its class (RFC 9110, section 15).
func (t *Telemetry) result(e holdoff.Event) []attribute.KeyValue {
	code := e.Status
	switch {
	case code == 0:
		set := t.reasons.of(e.Reason)
		word, _ := set.Value(reasonKey)
		return []attribute.KeyValue{semconv.ErrorTypeKey.String(word.AsString())}
	case http.StatusText(code) != "":
	case code < 100 || code > 599:
		code = http.StatusInternalServerError
	default:
		code = code / 100 * 100
	}
	attrs := []attribute.KeyValue{semconv.HTTPResponseStatusCode(code)}
	if code >= 400 {
		attrs = append(attrs, semconv.ErrorTypeKey.String(strconv.Itoa(code)))
	}
	return attrs
}

// annotate adds e to the caller's span. Spans have no bound on their values, so
// that the key and the reason are as they came.
func annotate(ctx context.Context, name string, e holdoff.Event, attrs ...attribute.KeyValue) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attrs = append(attrs, server(e.Key)...)
	attrs = append(attrs, reason(e.Reason)...)
	if part := e.Scope.String(); part != "" {
		attrs = append(attrs, scopeKey.String(text(part)))
	}
	if e.Attempt > 0 {
		attrs = append(attrs, semconv.HTTPRequestResendCount(e.Attempt))
	}
	if e.Status != 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(e.Status))
	}
	if e.Waited > 0 {
		attrs = append(attrs, attribute.Float64("holdoff.waited", e.Waited.Seconds()))
	}
	if e.Parked != "" {
		attrs = append(attrs, attribute.String("holdoff.parked", e.Parked))
	}
	if e.Err != nil {
		attrs = append(attrs, semconv.ExceptionMessage(text(e.Err.Error())))
	}
	span.AddEvent(name, trace.WithAttributes(attrs...))
}
