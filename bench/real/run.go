package real

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/redisserver"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// latency is how long a server takes for an answer at least.
const latency = 5 * time.Millisecond

// experiment is one run: a trial of one contender, with a server of its own.
type experiment struct {
	Trial
	contender contender
	redis     *redistest.Server // nil where there is none
	url       string
	start     time.Time

	mu      sync.Mutex // guards what follows
	members []*member
	answers []fleet.Answer
}

// member is a replica in the course of a run.
type member struct {
	process *process
	killed  bool
	done    chan struct{} // closed when all that it has to say is in
	err     error
}

func (x *experiment) run(ctx context.Context) (Row, error) {
	ctx, cancel := context.WithTimeout(ctx, x.Work.Sending+x.Work.Timeout+time.Minute)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Row{}, err
	}
	x.url = "http://" + listener.Addr().String()
	x.members = make([]*member, x.Work.Replicas)
	defer x.close()
	if err := x.spawnAll(ctx); err != nil {
		return Row{}, err
	}
	before, err := x.commands(ctx)
	if err != nil {
		return Row{}, err
	}

	// A moment from now, so that all processes know of it in time.
	x.start = time.Now().Add(500 * time.Millisecond)
	tally := &fleet.Tally{Server: x.Server()}
	server := &http.Server{Handler: delayed(tally), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	defer server.Close()
	go server.Serve(listener)
	for i := range x.members {
		x.begin(i, 0)
	}
	if x.disturb != nil {
		if err := x.disturb(ctx, x); err != nil {
			return Row{}, err
		}
	}
	for i := range x.members {
		if err := x.wait(i); err != nil {
			return Row{}, err
		}
	}
	after, err := x.commands(ctx)
	if err != nil {
		return Row{}, err
	}
	r := row(x.Scenario, x.contender.name, x.answers, tally.Slots())
	r.Commands = after - before
	return r, nil
}

// delayed makes answers take some time: net/http sends what is as small as these
// when the handler returns.
func delayed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		time.Sleep(latency)
	})
}

func (x *experiment) spawnAll(ctx context.Context) error {
	errs := make(chan error, len(x.members))
	for i := range x.members {
		go func() { errs <- x.spawn(ctx, i) }()
	}
	var first error
	for range x.members {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// spawn makes replica number i.
func (x *experiment) spawn(ctx context.Context, i int) error {
	j := job{
		URL: x.url, Work: x.Work, Contender: x.contender.name,
		Unreachable: i < x.Unreachable, Seed: uint64(i) + 1,
	}
	j.Work.Replicas = 1
	if x.contender.shares {
		j.Redis = x.redis.Addr
	}
	p, err := spawn(ctx, j)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.members[i] = &member{process: p, done: make(chan struct{})}
	return nil
}

// begin lets replica number i send, from so long after the start on.
func (x *experiment) begin(i int, after time.Duration) {
	m := x.members[i]
	answers := make(chan fleet.Answer, 64)
	go func() {
		m.err = m.process.run(order{x.start.Add(after), x.Work.Sending - after}, answers)
		close(answers)
	}()
	go func() {
		defer close(m.done)
		for a := range answers {
			a.Asked += after
			x.mu.Lock()
			x.answers = append(x.answers, a)
			x.mu.Unlock()
		}
	}()
}

// wait waits until replica number i has told what became of its requests.
func (x *experiment) wait(i int) error {
	m := x.members[i]
	<-m.done
	if m.err != nil && !m.killed {
		return m.err
	}
	return nil
}

// restart kills replica number i, and starts another in its place. What the killed
// one had under way is gone, and nobody waits for it.
func (x *experiment) restart(ctx context.Context, i int) error {
	m := x.members[i]
	m.killed = true
	m.process.cmd.Process.Kill()
	<-m.done
	m.process.close()
	if err := x.spawn(ctx, i); err != nil {
		return err
	}
	x.begin(i, time.Since(x.start))
	return nil
}

// commands returns how many commands the Redis has executed so far, within scripts
// too.
func (x *experiment) commands(ctx context.Context) (int64, error) {
	if !x.contender.shares {
		return 0, nil
	}
	return redisserver.Executed(ctx, x.redis.Addr)
}

func (x *experiment) close() {
	var wg sync.WaitGroup
	for _, m := range x.members {
		if m != nil {
			wg.Go(m.process.close)
		}
	}
	wg.Wait()
}

// at sleeps until so long after the start. It returns an error if ctx ends before.
func (x *experiment) at(ctx context.Context, after time.Duration) error {
	select {
	case <-time.After(time.Until(x.start.Add(after))):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", x.Name, context.Cause(ctx))
	}
}
