package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/redis/go-redis/v9"
)

// replicaEnv is set in the environment of a process that is to be a replica.
// It reads a job and then the time of the start from its standard input, which
// stays open for as long as the process is wanted, and writes messages to its
// standard output.
const replicaEnv = "HOLDOFF_FLEET_REPLICA"

// message is what a replica's process has to say: that it is ready, then
// whenever it begins or ceases to be held, and at last how it all went.
type message struct {
	Held   bool
	Report *report `json:",omitempty"`
}

// process is a replica that is another process.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  *json.Decoder
	isHeld atomic.Bool
}

// asProcesses makes replicas that are processes, and share if job says so.
type asProcesses struct{}

func (asProcesses) replica(ctx context.Context, j job) (member, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self)}
	p.cmd.Env = append(os.Environ(), replicaEnv+"=1")
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.lines = json.NewDecoder(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	var ready message
	err = json.NewEncoder(p.stdin).Encode(j)
	if err == nil {
		err = p.lines.Decode(&ready)
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("a replica did not get ready: %w", err)
	}
	return p, nil
}

func (p *process) run(_ context.Context, start time.Time) (report, error) {
	if err := json.NewEncoder(p.stdin).Encode(start); err != nil {
		return report{}, fmt.Errorf("a replica ended early: %w", err)
	}
	for {
		var m message
		if err := p.lines.Decode(&m); err != nil {
			return report{}, fmt.Errorf("a replica ended early: %w", err)
		}
		p.isHeld.Store(m.Held)
		if m.Report != nil {
			return *m.Report, nil
		}
	}
}

func (p *process) held() bool { return p.isHeld.Load() }

// close lets the process end, and waits until it has.
func (p *process) close() {
	p.stdin.Close()
	p.cmd.Wait()
}

// beReplica is what main is in a replica's process.
func beReplica(stdin io.Reader, stdout, stderr io.Writer) int {
	input := json.NewDecoder(stdin)
	var j job
	if err := input.Decode(&j); err != nil {
		fmt.Fprintln(stderr, "fleet: a replica has no job:", err)
		return 1
	}
	var store holdoff.Store
	if j.Redis != "" {
		// This, and the Store field in newReplica, is all that it takes.
		client := redis.NewClient(&redis.Options{Addr: j.Redis})
		defer client.Close()
		shared, err := holdoff.NewRedisStore(client, holdoff.RedisOptions{Namespace: j.Namespace})
		if err != nil {
			fmt.Fprintln(stderr, "fleet:", err)
			return 1
		}
		defer shared.Close()
		store = shared
	}

	var mu sync.Mutex // keeps messages whole
	output := json.NewEncoder(stdout)
	say := func(m message) {
		mu.Lock()
		defer mu.Unlock()
		output.Encode(m)
	}
	r := newReplica(j, store)
	defer r.close()
	r.told = func(held bool) { say(message{Held: held}) }
	say(message{})
	var start time.Time
	if err := input.Decode(&start); err != nil {
		return 1 // it ends before it has begun
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		// The input ends when this process is not wanted any more: at the latest
		// with the process that started it, however that ends.
		io.Copy(io.Discard, stdin)
		cancel()
	}()
	total, err := r.run(ctx, start)
	if err != nil {
		return 1
	}
	say(message{Report: &total})
	<-ctx.Done() // so that all replicas poll their Redis while the run lasts
	return 0
}
