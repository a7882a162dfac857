// Fleet runs 16 replicas of a service against a server that throttles them,
// twice: once with each replica on its own, and once with replicas that share
// what the server told one of them. At the end it prints what that cost the
// server and the callers.
//
// Without flags the replicas live in this process, each with its own client,
// and share a MemoryStore. With -redis each of them is a process of its own, and
// they share a RedisStore: what runs then is what would run on 16 machines.
//
// This file says what is run. replica.go is a replica, and all that it takes to
// share; server.go is the server and its faults, processes.go runs replicas as
// processes, redis.go looks after the Redis, and report.go prints the table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
)

const (
	timeout = 30 * time.Second // of one request, with all its attempts and waits
	// stagger is how much later the second run starts: the runs overlap, to save
	// time, but what follows a fault takes a machine's full attention.
	stagger = 4 * time.Second

	maxReplicas = 128
	maxRate     = 100
)

func main() {
	if os.Getenv(replicaEnv) != "" {
		os.Exit(beReplica(os.Stdin, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// config is what the flags say.
type config struct {
	replicas int
	rate     int // of each replica: requests per second
	fault    fault
	redis    string // address; empty: replicas live in this process
}

// run returns the exit status: 0 if the table was printed, 2 if a flag is wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	var shared sharing = inMemory{new(holdoff.MemoryStore)}
	if cfg.redis != "" {
		server, err := dialRedis(ctx, cfg.redis)
		if err != nil {
			fmt.Fprintf(stderr, "fleet: -redis is %q, which does not answer as a Redis does: %v\n", cfg.redis, err)
			return 2
		}
		defer server.close()
		shared = server
	}
	err = compare(ctx, cfg, shared, stdout)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "fleet: interrupted")
		return 1
	case err != nil:
		fmt.Fprintln(stderr, "fleet:", err)
		return 1
	}
	return 0
}

// sharing is how the replicas of a run know of each other, if they do.
type sharing interface {
	replica(ctx context.Context, j job) (member, error)
}

// member is a replica that is ready: in this process or in another.
type member interface {
	// run sends requests from start on, and returns when the last is answered.
	run(ctx context.Context, start time.Time) (report, error)
	// held reports whether the replica is told not to send at present.
	held() bool
	close()
}

// experiment is one run: a server of its own, and the replicas that call it.
type experiment struct {
	name    string
	begins  time.Time
	server  *server
	members []member
	total   report
	held    int // at most, as seen once a tick
}

// compare runs the fleet without and with sharing, and prints what each came to.
func compare(ctx context.Context, cfg config, shared sharing, out io.Writer) error {
	var alone sharing = inMemory{}
	through := "a MemoryStore"
	if cfg.redis != "" {
		alone = asProcesses{}
		through = "the Redis at " + cfg.redis + "; each is a process"
	}
	fmt.Fprintf(out, "Replicas: %d, each with %d requests per second: first alone, and %v later sharing through\n%s.\n",
		cfg.replicas, cfg.rate, stagger, through)
	fmt.Fprintf(out, "Their server %s.\nIt all takes about %v. Ctrl-C ends it early.\n\n", cfg.fault.story, cfg.fault.sending+stagger+time.Second)

	runs := []*experiment{{name: "alone"}, {name: "shared"}}
	for i, how := range []sharing{alone, shared} {
		x := runs[i]
		defer x.close()
		if err := x.prepare(ctx, cfg, how); err != nil {
			return err
		}
	}
	meter, metered := shared.(*redisServer)
	if metered {
		if err := meter.read(ctx); err != nil {
			return err
		}
	}
	if err := start(ctx, runs, out); err != nil {
		return err
	}
	if metered {
		if err := meter.read(ctx); err != nil {
			return err
		}
	}
	printTable(out, cfg.fault, runs)
	if metered {
		meter.print(out, runs[1])
	}
	return nil
}

// prepare starts the server and the replicas, which wait for the start.
func (x *experiment) prepare(ctx context.Context, cfg config, how sharing) (err error) {
	if x.server, err = serve(cfg.fault); err != nil {
		return err
	}
	j := job{URL: x.server.url, Rate: cfg.rate, Sending: cfg.fault.sending}
	x.members = make([]member, cfg.replicas)
	errs := make([]error, cfg.replicas)
	var wg sync.WaitGroup
	for i := range x.members {
		wg.Go(func() { x.members[i], errs[i] = how.replica(ctx, j) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// start starts the runs one after the other, and shows how they go until all are
// over.
func start(ctx context.Context, runs []*experiment, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A moment from now, so that processes know of it in time.
	begin := time.Now().Add(500 * time.Millisecond)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, x := range runs {
		x.begins = begin.Add(time.Duration(i) * stagger)
		x.server.begin(x.begins)
		for _, m := range x.members {
			wg.Go(func() {
				r, err := m.run(ctx, x.begins)
				if err != nil {
					cancel(err) // of no use without one of them
				}
				mu.Lock()
				defer mu.Unlock()
				x.total.add(r)
			})
		}
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	showProgress(runs, done, out)
	return context.Cause(ctx)
}

func (x *experiment) close() {
	var wg sync.WaitGroup
	for _, m := range x.members {
		if m != nil {
			wg.Go(m.close)
		}
	}
	wg.Wait()
	if x.server != nil {
		x.server.http.Close()
	}
}

// parse reads the flags. It has told what is wrong with them when it returns an error.
func parse(args []string, stderr io.Writer) (cfg config, err error) {
	var fault string
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&cfg.replicas, "replicas", 16, fmt.Sprintf("run `N` replicas, 1 to %d", maxReplicas))
	flags.IntVar(&cfg.rate, "rate", 25, fmt.Sprintf("each replica sends `R` requests per second, 1 to %d", maxRate))
	flags.StringVar(&fault, "fault", "throttle", "what the server's trouble is: `throttle`, outage, broken or none")
	flags.StringVar(&cfg.redis, "redis", "", "run replicas as processes, which share through the Redis at `ADDR`, as in localhost:6379")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	var known bool
	cfg.fault, known = faults[fault]
	redisGiven := false
	flags.Visit(func(f *flag.Flag) { redisGiven = redisGiven || f.Name == "redis" })
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q; there are only flags", flags.Arg(0))
	case cfg.replicas < 1 || cfg.replicas > maxReplicas:
		err = fmt.Errorf("-replicas is %d; it must be 1 to %d", cfg.replicas, maxReplicas)
	case cfg.rate < 1 || cfg.rate > maxRate:
		err = fmt.Errorf("-rate is %d; it must be 1 to %d", cfg.rate, maxRate)
	case !known:
		err = fmt.Errorf("-fault is %q; it must be throttle, outage, broken or none", fault)
	case redisGiven && !strings.Contains(cfg.redis, ":"):
		err = fmt.Errorf("-redis is %q; it must be host:port", cfg.redis)
	}
	if err != nil {
		fmt.Fprintln(stderr, "fleet:", err)
	}
	return cfg, err
}
