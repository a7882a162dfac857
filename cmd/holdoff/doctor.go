package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"
)

// finding is what one check of the doctor found. Its JSON is stable.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warning, failure
	Words  string `json:"words"`
	Fix    string `json:"fix,omitempty"` // what to do about it
}

const (
	sound   = "ok"
	warning = "warning"
	failure = "failure"
)

func setupDoctor(flags *flag.FlagSet) func(context.Context, *env, []string) error {
	var c connection
	c.define(flags)
	asJSON := flags.Bool("json", false, "JSON, for programs")
	return func(ctx context.Context, e *env, rest []string) error {
		if len(rest) > 0 {
			return usagef("it takes no arguments, and got %q", rest)
		}
		client, err := c.open()
		if err != nil {
			return err
		}
		defer client.Close()
		d := &doctor{connection: &c, client: client}
		d.examine(ctx)
		if *asJSON {
			err = writeJSON(e.out, d.findings)
		} else {
			d.write(e.out)
		}
		if err == nil && d.has(failure) {
			return errSaid
		}
		return err
	}
}

// doctor examines a Redis for a namespace.
type doctor struct {
	*connection
	client   redis.UniversalClient
	node     redis.UniversalClient // the one that has the namespace: of a Cluster, its master
	noKeys   bool                  // it may not use the keys
	findings []finding
}

func (d *doctor) note(check, status, words, fix string) {
	d.findings = append(d.findings, finding{check, status, printable(d.hidden(words)), fix})
}

func (d *doctor) has(status string) bool {
	for _, f := range d.findings {
		if f.Status == status {
			return true
		}
	}
	return false
}

func (d *doctor) write(w io.Writer) {
	for _, f := range d.findings {
		fmt.Fprintf(w, "%-8s %-12s %s\n", f.Status, f.Check, f.Words)
		if f.Fix != "" {
			fmt.Fprintf(w, "%21s %s\n", "→", f.Fix)
		}
	}
}

// examine makes all checks: the later ones need the connection.
func (d *doctor) examine(ctx context.Context) {
	if !d.connects(ctx) {
		return
	}
	d.checkLatency(ctx)
	d.checkClock(ctx)
	d.checkRights(ctx)
	d.checkMemory(ctx)
	d.rehearse(ctx)
	d.checkVersions(ctx)
	d.checkListeners(ctx)
}

// connects checks the connection, the version and the role of the server.
func (d *doctor) connects(ctx context.Context) bool {
	d.node = d.client
	if cluster, ok := d.client.(*redis.ClusterClient); ok {
		node, err := cluster.MasterForKey(ctx, d.name("meta"))
		if err != nil {
			d.note("connection", failure, fmt.Sprintf("%s: %v", d.where(), err), "is the address that of a Cluster, and does it run?")
			return false
		}
		d.node = node
	}
	begin := time.Now()
	if err := d.node.Ping(ctx).Err(); err != nil && !isDenied(err) {
		d.note("connection", failure, fmt.Sprintf("%s: %v", d.where(), err), connectionFix(err))
		return false
	}
	d.note("connection", sound, fmt.Sprintf("%s answers, %.1f ms for the first command", d.where(), ms(time.Since(begin))), "")
	d.checkServer(d.hello(ctx))
	return true
}

// rounds is how many commands the latency is measured with.
const rounds = 50

func (d *doctor) checkLatency(ctx context.Context) {
	var took []time.Duration
	for range rounds {
		begin := time.Now()
		if err := d.node.Time(ctx).Err(); err != nil {
			d.note("latency", warning, fmt.Sprintf("TIME: %v", err), "")
			return
		}
		took = append(took, time.Since(begin))
	}
	median, longest := spread(took)
	words := fmt.Sprintf("%.1f ms is the median of %d commands, %.1f ms the longest", ms(median), rounds, ms(longest))
	switch {
	case median > 200*time.Millisecond:
		d.note("latency", failure, words, "a replica waits 250 ms for an answer (RedisOptions.Timeout): use a Redis that is nearer, or raise it")
	case longest > 100*time.Millisecond:
		d.note("latency", warning, words, "look for slow commands (SLOWLOG GET), forks and swapping; a replica waits 250 ms (RedisOptions.Timeout)")
	default:
		d.note("latency", sound, words, "")
	}
}

// checkClock compares clocks. Holds do not depend on it: times cross as what is left of
// them. It is for people who compare logs.
func (d *doctor) checkClock(ctx context.Context) {
	begin := time.Now()
	at, err := d.node.Time(ctx).Result()
	if err != nil {
		return // the latency has said so
	}
	skew := at.Sub(begin.Add(time.Since(begin) / 2)).Round(time.Millisecond)
	words := fmt.Sprintf("Redis' clock is %v from this machine's", skew)
	if skew.Abs() > 2*time.Second {
		d.note("clock", warning, words, "holds do not depend on it; what logs say of their times does: run NTP on both")
		return
	}
	d.note("clock", sound, words, "")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
