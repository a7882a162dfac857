// Package holdoffotel shows a Transport to OpenTelemetry: a span per attempt
// beneath the caller's, waits as events of the caller's span, and metrics.
//
//	transport := &holdoff.Transport{Store: store}
//	telemetry, err := holdoffotel.New(holdoffotel.Options{Transport: transport})
//	if err != nil {
//		return err
//	}
//	defer telemetry.Close()
//	transport.Base = telemetry.Base(nil)
//	transport.Observe = telemetry.Observe
//
// docs/TELEMETRY.md has the metrics.
package holdoffotel

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-holdoff/holdoff"
)

// Options say where telemetry goes, and what of.
type Options struct {
	// Transport is whose keys, waiters and store are shown. If nil, there is only
	// what Observe and Base are told.
	Transport *holdoff.Transport

	// TracerProvider, MeterProvider and Propagator are the global ones if nil.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	Propagator     propagation.TextMapPropagator

	// Attributes are added to every metric of ours: what tells the Transports of a
	// process apart, where it has several.
	Attributes []attribute.KeyValue

	// MaxKeys is how many keys get server.address and server.port of their own:
	// the first that are used. Those that come later are counted together, as
	// server.address "other". If zero, 100; if negative, no key has its own.
	MaxKeys int
}

// Telemetry is what Base and Observe of one Transport report to.
type Telemetry struct {
	options Options
	own     metric.MeasurementOption // Options.Attributes
	keys    names
	reasons names
	failing atomic.Bool // the store
	watch   metric.Registration

	attempts, retries, waits, gaveUp, holds, failures metric.Int64Counter

	waited metric.Float64Histogram

	keysNow, waiters metric.Int64ObservableUpDownCounter
	up               metric.Int64ObservableGauge
}

const (
	scope          = "github.com/go-holdoff/holdoff/telemetry/otel"
	defaultMaxKeys = 100
	// maxReasons is well above what DefaultClassify has: a Classify of the user's
	// own may make more than that of them.
	maxReasons = 50

	reasonKey = attribute.Key("holdoff.reason")
	originKey = attribute.Key("holdoff.origin")
	phaseKey  = attribute.Key("holdoff.phase")
	scopeKey  = attribute.Key("holdoff.scope")
)

// New makes the instruments. An error is one of MeterProvider's.
func New(options Options) (*Telemetry, error) {
	if options.TracerProvider == nil {
		options.TracerProvider = otel.GetTracerProvider()
	}
	if options.MeterProvider == nil {
		options.MeterProvider = otel.GetMeterProvider()
	}
	if options.Propagator == nil {
		options.Propagator = otel.GetTextMapPropagator()
	}
	t := &Telemetry{
		options: options,
		own:     metric.WithAttributes(options.Attributes...),
		reasons: names{max: maxReasons, attrs: reason},
		keys: names{max: cmp.Or(options.MaxKeys, defaultMaxKeys), attrs: func(key string) []attribute.KeyValue {
			return slices.Concat(server(key), options.Attributes)
		}},
	}
	meter := options.MeterProvider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
	if err := t.instruments(meter); err != nil {
		return nil, err
	}
	if options.Transport == nil {
		return t, nil
	}
	var err error
	t.watch, err = meter.RegisterCallback(t.look, t.keysNow, t.waiters, t.up)
	return t, err
}

// Close ends the watch of the Transport's keys; counters go on. It does not shut
// the providers down.
func (t *Telemetry) Close() error {
	if t.watch == nil {
		return nil
	}
	return t.watch.Unregister()
}

func (t *Telemetry) instruments(meter metric.Meter) error {
	var errs []error
	counter := func(name, unit, text string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
		errs = append(errs, err)
		return c
	}
	current := func(name, unit, text string) metric.Int64ObservableUpDownCounter {
		c, err := meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
		errs = append(errs, err)
		return c
	}
	t.attempts = counter("holdoff.attempts", "{attempt}", "Attempts, by status code, or error.type where there was no response.")
	t.retries = counter("holdoff.retries", "{retry}", "Attempts that were not the first of their request.")
	t.waits = counter("holdoff.waits", "{wait}", "Waits that began, by what for: held, or why the last attempt failed.")
	t.gaveUp = counter("holdoff.gave_up", "{request}", "Requests that were given up though they might have been sent again, by why.")
	t.holds = counter("holdoff.holds", "{hold}", "Times that a key, or a part of it, was held, or held for longer, by kind of scope, and by origin: own, from what this process met; or fleet, by the store's word.")
	t.failures = counter("holdoff.store.failures", "{failure}", "How often the store began to fail.")
	t.keysNow = current("holdoff.keys", "{scope}", "Scopes of keys that are not healthy, by kind of scope and by phase.")
	t.waiters = current("holdoff.waiters", "{request}", "Requests that stand in line for a key that is not healthy.")
	var err error
	t.up, err = meter.Int64ObservableGauge("holdoff.store.up", metric.WithUnit("1"),
		metric.WithDescription("Whether the store works: at 0, holds are this process's own."))
	errs = append(errs, err)
	t.waited, err = meter.Float64Histogram("holdoff.wait.duration", metric.WithUnit("s"),
		metric.WithDescription("How long requests waited before an attempt, or before they were given up."),
		metric.WithExplicitBucketBoundaries(.05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 120, 300))
	return errors.Join(append(errs, err)...)
}

// look reports the present state, when a reader collects the metrics.
func (t *Telemetry) look(_ context.Context, to metric.Observer) error {
	type place struct {
		server attribute.Set
		scope  string
		phase  holdoff.Phase
	}
	count, line := map[place]int64{}, map[attribute.Set]int64{}
	for state := range t.options.Transport.Keys() {
		server := t.keys.known(state.Key)
		if state.Phase != holdoff.Healthy {
			count[place{server, state.Scope.Kind(), state.Phase}]++
		}
		if state.Waiters > 0 {
			line[server] += int64(state.Waiters)
		}
	}
	for at, n := range count {
		to.ObserveInt64(t.keysNow, n, metric.WithAttributeSet(at.server), metric.WithAttributes(phaseKey.String(at.phase.String()), scopeKey.String(at.scope)))
	}
	for server, n := range line {
		to.ObserveInt64(t.waiters, n, metric.WithAttributeSet(server))
	}
	if t.options.Transport.Store != nil {
		var up int64
		if !t.failing.Load() {
			up = 1
		}
		to.ObserveInt64(t.up, up, t.own)
	}
	return nil
}
