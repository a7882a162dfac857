// Package holdoffprom shows a Transport to Prometheus:
//
//	transport := &holdoff.Transport{Store: store}
//	collector := &holdoffprom.Collector{Transport: transport}
//	transport.Observe = collector.Observe
//	prometheus.MustRegister(collector)
//
// docs/TELEMETRY.md has the metrics; dashboard.json is a Grafana dashboard of
// them, and alerts.yaml has alert rules.
package holdoffprom

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-holdoff/holdoff"
)

// A Collector counts a Transport's events, and asks it how its keys stand when
// it is scraped. Its fields must not be changed after the first event or scrape.
// Where a process has several Transports, give each a Collector, and register
// them with prometheus.WrapRegistererWith and a label that distinguishes them.
type Collector struct {
	// Transport is whose keys, waiters and store are shown. If nil, there are
	// only the counters of Observe.
	Transport *holdoff.Transport

	// MaxKeys is how many keys get series of their own: the first that are used.
	// Those that come later share the label value "other", so that a client that
	// is sent anywhere by its users makes no series without end. If zero, 100; if
	// negative, no key has series of its own.
	MaxKeys int

	once    sync.Once
	keys    names
	reasons names
	held    clock
	failing atomic.Bool // the store

	attempts, retries, waits, gaveUp, holds *prometheus.CounterVec

	waited   *prometheus.HistogramVec
	failures prometheus.Counter
}

const (
	defaultMaxKeys = 100
	// maxReasons is well above what DefaultClassify has: a Classify of the user's
	// own may make more than that of them.
	maxReasons = 50
)

var (
	heldSeconds = prometheus.NewDesc("holdoff_held_seconds_total",
		"Time for which this process left the key alone, in seconds: holds, without probes and what follows. The scope is the kind of part that was held.", []string{"key", "scope"}, nil)
	keysNow = prometheus.NewDesc("holdoff_keys",
		"How many scopes of a key are not healthy, by kind of scope and by phase.", []string{"key", "scope", "phase"}, nil)
	waiters = prometheus.NewDesc("holdoff_waiters",
		"Requests that stand in line for a key that is not healthy.", []string{"key"}, nil)
	storeUp = prometheus.NewDesc("holdoff_store_up",
		"Whether the store works: at 0, holds are this process's own.", nil, nil)
)

func (c *Collector) init() {
	c.keys.max, c.reasons.max = cmp.Or(c.MaxKeys, defaultMaxKeys), maxReasons
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	c.attempts = counters("holdoff_attempts_total", "Attempts, by status code, or error where there was no response.", "key", "code")
	c.retries = counters("holdoff_retries_total", "Attempts that were not the first of their request.", "key")
	c.waits = counters("holdoff_waits_total", "Waits that began, by what for: held, or why the last attempt failed.", "key", "reason")
	c.gaveUp = counters("holdoff_gave_up_total", "Requests that were given up though they might have been sent again, by why.", "key", "reason")
	c.holds = counters("holdoff_holds_total", "Times that a key, or a part of it, was held, or held for longer, by kind of scope, and by origin: own, from what this process met; or fleet, by the store's word.", "key", "scope", "origin")
	c.waited = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "holdoff_wait_seconds", Help: "How long requests waited before an attempt, or before they were given up.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 120, 300},
	}, []string{"key"})
	c.failures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "holdoff_store_failures_total", Help: "How often the store began to fail.",
	})
}

// Observe counts an event. Set it as Transport.Observe, or call it from there.
func (c *Collector) Observe(_ context.Context, e holdoff.Event) {
	c.once.Do(c.init)
	switch e.Kind {
	case holdoff.StoreFailed:
		c.failing.Store(true)
		c.failures.Inc()
		return
	case holdoff.StoreBack:
		c.failing.Store(false)
		return
	}
	key := c.keys.of(e.Key)
	switch e.Kind {
	case holdoff.Attempted:
		c.attempts.WithLabelValues(key, code(e)).Inc()
		if e.Attempt > 0 {
			c.retries.WithLabelValues(key).Inc()
		}
	case holdoff.Waiting:
		c.waits.WithLabelValues(key, c.reasons.of(e.Reason)).Inc()
	case holdoff.GaveUp:
		c.gaveUp.WithLabelValues(key, c.reasons.of(e.Reason)).Inc()
	case holdoff.HoldStarted, holdoff.HoldChanged, holdoff.HoldEnded:
		c.held.hold(part{key, e.Scope.Kind()}, e.Hold, time.Now())
		if e.Phase != holdoff.Held {
			break
		}
		origin := "own"
		if e.Shared {
			origin = "fleet"
		}
		c.holds.WithLabelValues(key, e.Scope.Kind(), origin).Inc()
	}
	if e.Waited > 0 {
		c.waited.WithLabelValues(key).Observe(e.Waited.Seconds())
	}
}

// code is the label for an attempt's outcome. Servers can make up codes; what is
// in no registry means the first of its class (RFC 9110, section 15).
func code(e holdoff.Event) string {
	switch {
	case e.Status == 0:
		return "error"
	case http.StatusText(e.Status) != "":
		return strconv.Itoa(e.Status)
	case e.Status < 100 || e.Status > 599:
		return "500"
	}
	return strconv.Itoa(e.Status / 100 * 100)
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range c.counted() {
		m.Describe(to)
	}
	for _, d := range []*prometheus.Desc{heldSeconds, keysNow, waiters, storeUp} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	for _, m := range c.counted() {
		m.Collect(to)
	}
	for of, held := range c.held.totals(time.Now()) {
		to <- prometheus.MustNewConstMetric(heldSeconds, prometheus.CounterValue, held.Seconds(), of.key, of.scope)
	}
	if c.Transport == nil {
		return
	}
	if c.Transport.Store != nil {
		up := 1.0
		if c.failing.Load() {
			up = 0
		}
		to <- prometheus.MustNewConstMetric(storeUp, prometheus.GaugeValue, up)
	}
	c.collectKeys(to)
}

func (c *Collector) counted() []prometheus.Collector {
	c.once.Do(c.init)
	return []prometheus.Collector{c.attempts, c.retries, c.waits, c.gaveUp, c.holds, c.waited, c.failures}
}

func (c *Collector) collectKeys(to chan<- prometheus.Metric) {
	type place struct{ key, scope, phase string }
	count, line := map[place]int{}, map[string]int{}
	for state := range c.Transport.Keys() {
		key := c.keys.known(state.Key)
		if state.Phase != holdoff.Healthy {
			count[place{key, state.Scope.Kind(), state.Phase.String()}]++
		}
		if state.Waiters > 0 {
			line[key] += state.Waiters
		}
	}
	for at, n := range count {
		to <- prometheus.MustNewConstMetric(keysNow, prometheus.GaugeValue, float64(n), at.key, at.scope, at.phase)
	}
	for key, n := range line {
		to <- prometheus.MustNewConstMetric(waiters, prometheus.GaugeValue, float64(n), key)
	}
}
