// Package overhead measures what the peers cost a request: side by side, in one
// run. All are given the same requests, over a stub that does nothing and over a
// real server on the loopback, and each measurement of a peer has one of the bare
// base next to it.
package overhead

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/bench/measure"
	"github.com/go-holdoff/holdoff/bench/peers"
)

// Options are how the measurement is made.
type Options struct {
	// Time is how long each repetition of each case measures each peer.
	Time time.Duration
	// Repetitions is how often everything is measured, in turns: what disturbs the
	// machine for a while disturbs all alike. Rows have medians.
	Repetitions int
	// Store is what holdoff is measured with a second time. If nil, that is not
	// done.
	Store holdoff.Store
	// Progress is told what is being done.
	Progress io.Writer
}

// Row is what one peer cost in one case, per request. Of a server on the loopback
// it has the server's share too.
type Row struct {
	Peer string `json:"peer"`
	Case
	measure.Summary
	// Ratio is NS to that of bare, pairwise in each repetition, the median.
	Ratio float64 `json:"ratio"`
	// Note says why there are no figures.
	Note string `json:"note,omitempty"`
}

// WithStore is the name of the rows for holdoff with a Store.
const WithStore = "holdoff, RedisStore"

// contender is a peer at work.
type contender struct {
	name string
	can  peers.Can
	make func(base http.RoundTripper, sends int) http.RoundTripper
}

func contenders(store holdoff.Store) []contender {
	var all []contender
	for _, p := range peers.All {
		all = append(all, contender{p.Name, p.Can, func(base http.RoundTripper, sends int) http.RoundTripper {
			if sends > 1 {
				return p.Eager(base)
			}
			return p.New(base)
		}})
		if p.Name == "holdoff" {
			all = append(all, contender{WithStore, p.Can, withStore(store)})
		}
	}
	return all
}

func withStore(store holdoff.Store) func(http.RoundTripper, int) http.RoundTripper {
	if store == nil {
		return nil
	}
	return func(base http.RoundTripper, sends int) http.RoundTripper {
		t := &holdoff.Transport{Base: base, Store: store}
		if sends > 1 {
			return peers.Eager(t)
		}
		return t
	}
}

// obstacle says why a contender can't do the case, if it can't. Bare is no peer
// that retries, and is measured as a caller who does that by hand.
func (c contender) obstacle(k Case) string {
	switch {
	case c.make == nil:
		return "there is no redis-server"
	case k.Sends == 1 || c.name == "bare":
		return ""
	case k.Work == workPut && !c.can.Replay:
		return "can't resend a body"
	case k.Work == workStream && !c.can.Buffer:
		return "can't resend a body that it can't make anew"
	}
	return ""
}

// cell is a contender at a case, with what was measured so far.
type cell struct {
	contender
	Case
	samples []measure.Sample
	ratios  []float64
	note    string
}

// Run measures all contenders at all cases. An error that a contender makes is
// noted in its row; Run itself fails where ctx ends.
func Run(ctx context.Context, o Options) ([]Row, error) {
	return run(ctx, o, cases())
}

func run(ctx context.Context, o Options, cases []Case) ([]Row, error) {
	var groups [][]*cell
	for _, k := range cases {
		var group []*cell
		for _, c := range contenders(o.Store) {
			group = append(group, &cell{contender: c, Case: k, note: c.obstacle(k)})
		}
		groups = append(groups, group)
	}
	for i := range o.Repetitions {
		fmt.Fprintf(o.Progress, "overhead: repetition %d of %d\n", i+1, o.Repetitions)
		for _, group := range groups {
			if err := measureGroup(ctx, o, group, i); err != nil {
				return nil, err
			}
		}
	}
	var rows []Row
	for _, group := range groups {
		for _, c := range group {
			rows = append(rows, c.row())
		}
	}
	return rows, nil
}

// measureGroup measures one case once, in an order that differs from repetition to
// repetition.
func measureGroup(ctx context.Context, o Options, group []*cell, repetition int) error {
	var bare float64
	for i := range group {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c := group[(i+repetition)%len(group)]
		if c.note != "" {
			continue
		}
		s, err := c.measure(o.Time)
		switch {
		case err != nil && c.name == "bare":
			return fmt.Errorf("%+v: %w", c.Case, err)
		case err != nil:
			c.note = "fails: " + err.Error()
			continue
		}
		c.samples = append(c.samples, s)
		if c.name == "bare" {
			bare = s.NS
		}
	}
	for _, c := range group {
		if c.note == "" {
			c.ratios = append(c.ratios, c.samples[len(c.samples)-1].NS/bare)
		}
	}
	return nil
}

// measure makes the case's work for about as long as d.
func (c *cell) measure(d time.Duration) (measure.Sample, error) {
	t := &target{}
	at := t.stub()
	if c.Site == onLoopback {
		at = t.loopback()
	}
	defer at.close()
	rt := c.make(at.base, c.Sends)
	return measure.Calls(d, func() ([]func() error, error) {
		t.reset(c.Sends > 1)
		return c.senders(rt, at.url)
	})
}

func (c *cell) senders(rt http.RoundTripper, url string) ([]func() error, error) {
	newSender := c.sender
	if c.name == "bare" {
		newSender = c.twice
	}
	var all []func() error
	for lane := range c.Goroutines {
		send, err := newSender(rt, url, lane)
		if err != nil {
			return nil, err
		}
		all = append(all, send)
	}
	return all, nil
}

func (c *cell) row() Row {
	r := Row{Peer: c.name, Case: c.Case, Note: c.note}
	if c.note == "" {
		r.Summary, r.Ratio = measure.Summarise(c.samples), measure.Median(c.ratios)
	}
	return r
}
