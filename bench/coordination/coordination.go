// Package coordination measures what it costs a healthy request that its process
// shares through Redis what it knows: with holdoff, with a limiter that is asked
// before every request, and with a breaker that keeps its state there.
package coordination

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/bench/measure"
	"github.com/go-holdoff/holdoff/bench/redisserver"
)

// Options are how the measurement is made.
type Options struct {
	// Addr is the address of a Redis that nobody else uses. It is flushed.
	Addr string
	// Time is how long each repetition measures each row.
	Time time.Duration
	// Repetitions is how often everything is measured, in turns.
	Repetitions int
	// Progress is told what is being done.
	Progress io.Writer
}

// Row is what coordination costs a request, where so many goroutines send at once.
type Row struct {
	Peer       string `json:"peer"`
	Goroutines int    `json:"goroutines"`
	measure.Summary
	// Sent are the commands that the client sent to Redis; Executed those that
	// Redis counts, within scripts too. The background's are among them.
	Sent     float64 `json:"sent_per_request"`
	Executed float64 `json:"executed_per_request"`
	// PerSecond are the commands sent per second of the measurement.
	PerSecond float64 `json:"sent_per_second"`
	// Note says why there are no figures.
	Note string `json:"note,omitempty"`
}

var goroutines = []int{1, 2, 16}

// cell is a row in the making.
type cell struct {
	contender
	goroutines                int
	samples                   []measure.Sample
	sent, executed, perSecond []float64
	note                      string
}

// Run measures all contenders. An error that one makes is noted in its row.
func Run(ctx context.Context, o Options) ([]Row, error) {
	var cells []*cell
	for _, c := range contenders {
		for _, n := range goroutines {
			cells = append(cells, &cell{contender: c, goroutines: n})
		}
	}
	for i := range o.Repetitions {
		fmt.Fprintf(o.Progress, "coordination: repetition %d of %d\n", i+1, o.Repetitions)
		for _, c := range cells {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if c.note == "" {
				if err := c.measure(ctx, o); err != nil {
					c.note = "fails: " + err.Error()
				}
			}
		}
	}
	var rows []Row
	for _, c := range cells {
		rows = append(rows, c.row())
	}
	return rows, nil
}

func (c *cell) row() Row {
	r := Row{Peer: c.name, Goroutines: c.goroutines, Note: c.note}
	if c.note == "" {
		r.Summary = measure.Summarise(c.samples)
		r.Sent, r.Executed, r.PerSecond = measure.Median(c.sent), measure.Median(c.executed), measure.Median(c.perSecond)
	}
	return r
}

// stub answers each request at once, and counts them.
type stub struct {
	requests atomic.Int64
	answer   *http.Response
}

func (s *stub) RoundTrip(*http.Request) (*http.Response, error) {
	s.requests.Add(1)
	return s.answer, nil
}

func (c *cell) measure(ctx context.Context, o Options) error {
	client, sent := countingClient(o.Addr)
	defer client.Close()
	if err := client.FlushAll(ctx).Err(); err != nil {
		return err
	}
	base := &stub{answer: &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}}
	rt, end, err := c.make(base, client)
	if err != nil {
		return err
	}
	defer end()

	executed, err := redisserver.Executed(ctx, o.Addr)
	if err != nil {
		return err
	}
	begun, sentBefore := time.Now(), sent.Load()
	sample, err := measure.Calls(o.Time, func() ([]func() error, error) { return callers(ctx, rt, c.goroutines) })
	if err != nil {
		return err
	}
	took, sentNow := time.Since(begun), sent.Load()-sentBefore
	after, err := redisserver.Executed(ctx, o.Addr)
	if err != nil {
		return err
	}
	requests := float64(base.requests.Load())
	c.samples = append(c.samples, sample)
	c.sent = append(c.sent, float64(sentNow)/requests)
	c.executed = append(c.executed, float64(after-executed)/requests)
	c.perSecond = append(c.perSecond, float64(sentNow)/took.Seconds())
	return nil
}

func callers(ctx context.Context, rt http.RoundTripper, n int) ([]func() error, error) {
	var all []func() error
	for range n {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/v1/things", nil)
		if err != nil {
			return nil, err
		}
		all = append(all, func() error {
			_, err := rt.RoundTrip(req)
			return err
		})
	}
	return all, nil
}
