package holdoffotel

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/go-holdoff/holdoff"
)

// script answers with statuses in turn, then with 200: 0 is an error, and a
// 429 asks for silence of 5 s. It notes the traceparents.
type script struct {
	mu       sync.Mutex
	statuses []int
	parents  []string
	closed   int
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parents = append(s.parents, req.Header.Get("Traceparent"))
	w := httptest.NewRecorder()
	if len(s.statuses) > 0 {
		status := s.statuses[0]
		s.statuses = s.statuses[1:]
		if status == 0 {
			return nil, errors.New("broken")
		}
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "5")
		}
		w.WriteHeader(status)
	}
	return w.Result(), nil
}

func (s *script) CloseIdleConnections() { s.closed++ }

// rig is a Transport with everything that comes out of its telemetry.
type rig struct {
	*holdoff.Transport
	base      *script
	telemetry *Telemetry
	tracers   *sdktrace.TracerProvider
	spans     *tracetest.SpanRecorder
	reader    *metric.ManualReader
}

func newRig(t *testing.T, options Options, statuses ...int) *rig {
	t.Helper()
	r := &rig{base: &script{statuses: statuses}, spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	r.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans))
	r.Transport = &holdoff.Transport{Route: oneScope, Backoff: holdoff.Exponential{Base: 3 * time.Second, Jitter: holdoff.NoJitter}}
	options.Transport, options.TracerProvider = r.Transport, r.tracers
	if options.MeterProvider == nil {
		options.MeterProvider = metric.NewMeterProvider(metric.WithReader(r.reader))
	}
	options.Propagator = propagation.TraceContext{}
	var err error
	if r.telemetry, err = New(options); err != nil {
		t.Fatal(err)
	}
	r.Base, r.Observe = r.telemetry.Base(r.base), r.telemetry.Observe
	return r
}

// send makes a request within a span of the caller's.
func (r *rig) send(ctx context.Context, url string) error {
	ctx, span := r.tracers.Tracer("test").Start(ctx, "caller")
	defer span.End()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := r.RoundTrip(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func value(attrs []attribute.KeyValue, key attribute.Key) string {
	for _, a := range attrs {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// Attempts are spans of their own beneath the caller's, with the number of the
// resend from the first retry on; and each is ended.
func TestAttemptSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, 503, 503)
		if err := r.send(t.Context(), "http://h/path"); err != nil {
			t.Fatal(err)
		}
		ended, started := r.spans.Ended(), r.spans.Started()
		if len(ended) != 4 || len(started) != 4 {
			t.Fatalf("got %d spans of which %d ended, want 4", len(started), len(ended))
		}
		caller := ended[3]
		seen := map[string]bool{}
		for i, want := range []struct {
			status, resend string
			code           codes.Code
		}{{"503", "", codes.Error}, {"503", "1", codes.Error}, {"200", "2", codes.Unset}} {
			span := ended[i]
			if span.Parent().SpanID() != caller.SpanContext().SpanID() {
				t.Errorf("attempt %d is not beneath the caller's span", i)
			}
			if got := value(span.Attributes(), "http.response.status_code"); got != want.status {
				t.Errorf("attempt %d: got status %s, want %s", i, got, want.status)
			}
			if got := value(span.Attributes(), "http.request.resend_count"); got != want.resend {
				t.Errorf("attempt %d: got resend_count %q, want %q", i, got, want.resend)
			}
			if span.Status().Code != want.code {
				t.Errorf("attempt %d: got %v, want %v", i, span.Status().Code, want.code)
			}
			id := span.SpanContext().SpanID().String()
			if got, want := r.base.parents[i], "00-"+caller.SpanContext().TraceID().String()+"-"+id+"-01"; got != want {
				t.Errorf("attempt %d: got traceparent %s, want %s", i, got, want)
			}
			if seen[id] {
				t.Errorf("attempt %d has the span of another", i)
			}
			seen[id] = true
		}
	})
}

// What a span of an attempt can't show, the waiting between them, is in events
// of the caller's.
func TestWaitIsAnEventOfTheCallersSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, 503, 429, 500, 500)
		r.send(t.Context(), "https://h/path?secret")
		ended := r.spans.Ended()
		caller := ended[len(ended)-1]
		want := []map[attribute.Key]string{
			{"": "holdoff.wait", "holdoff.reason": "server error", "holdoff.wait.least": "3", "http.request.resend_count": "1", "http.response.status_code": "503"},
			{"": "holdoff.wait", "holdoff.reason": "held", "holdoff.wait.least": "5", "http.request.resend_count": "2", "http.response.status_code": "429"},
			{"": "holdoff.wait", "holdoff.reason": "held", "http.request.resend_count": "3", "http.response.status_code": "500"},
			{"": "holdoff.gave_up", "holdoff.reason": "attempts", "http.request.resend_count": "3", "http.response.status_code": "500"},
		}
		if len(caller.Events()) != len(want) {
			t.Fatalf("got events %v, want %d", caller.Events(), len(want))
		}
		for i, event := range caller.Events() {
			if event.Name != want[i][""] {
				t.Errorf("event %d: got %s, want %s", i, event.Name, want[i][""])
			}
			for key, v := range want[i] {
				if got := value(event.Attributes, key); key != "" && got != v {
					t.Errorf("event %d: got %s = %q, want %q", i, key, got, v)
				}
			}
			if value(event.Attributes, "server.address") != "h" || value(event.Attributes, "server.port") != "443" {
				t.Errorf("event %d: got %v, want server h:443", i, event.Attributes)
			}
		}
	})
}

// A caller without a span is served all the same, and its attempts are roots.
func TestNoSpanOfTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, 503)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		for _, span := range r.spans.Ended() {
			if span.Parent().IsValid() {
				t.Errorf("got parent %v, want none", span.Parent())
			}
		}
	})
}

func TestCloseIdleConnections(t *testing.T) {
	r := newRig(t, Options{})
	(&http.Client{Transport: r.Transport}).CloseIdleConnections()
	if r.base.closed != 1 {
		t.Errorf("Base was told %d times to close idle connections, want 1", r.base.closed)
	}
	if _, ok := r.telemetry.Base(nil).(interface{ CloseIdleConnections() }); !ok {
		t.Error("a Base of its own can't close idle connections")
	}
}

// After Close the Transport is not asked for its keys; counters go on.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, 429)
		r.MaxWait = -1
		r.send(t.Context(), "http://h/")
		if r.read(t)["holdoff.key.count"] == nil {
			t.Error("a key that is held is not shown")
		}
		if err := r.telemetry.Close(); err != nil {
			t.Fatal(err)
		}
		metrics := r.read(t)
		if metrics["holdoff.key.count"] != nil {
			t.Error("keys are shown after Close")
		}
		if metrics["holdoff.attempts"] == nil {
			t.Error("attempts are gone after Close")
		}
	})
	if telemetry, err := New(Options{}); err != nil || telemetry.Close() != nil {
		t.Errorf("got %v from a Telemetry of the global providers, want no error", err)
	}
}

// read returns the metrics of ours by name.
func (r *rig) read(t *testing.T) map[string]*metricdata.Metrics {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := r.reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	found := map[string]*metricdata.Metrics{}
	for _, of := range data.ScopeMetrics {
		for i, m := range of.Metrics {
			if of.Scope.Name == scope {
				found[m.Name] = &of.Metrics[i]
			} else if m.Name == "http.client.request.duration" {
				found[m.Name] = &of.Metrics[i]
			}
		}
	}
	return found
}
