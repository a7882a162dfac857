package real

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// process is a replica in a process of its own.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *json.Decoder
}

// spawn starts a replica, and returns when it is ready.
func spawn(ctx context.Context, j job) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self)}
	p.cmd.Env = append(os.Environ(), ReplicaEnv+"=1")
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

// run lets the replica send, and returns when all is answered. What became of each
// request is sent to answers.
func (p *process) run(o order, answers chan<- fleet.Answer) error {
	if err := json.NewEncoder(p.stdin).Encode(o); err != nil {
		return fmt.Errorf("a replica ended early: %w", err)
	}
	for {
		var m message
		if err := p.lines.Decode(&m); err != nil {
			return fmt.Errorf("a replica ended early: %w", err)
		}
		if m.Done {
			return nil
		}
		if m.Answer != nil {
			answers <- *m.Answer
		}
	}
}

// close lets the process end, and waits until it has.
func (p *process) close() {
	p.stdin.Close()
	p.cmd.Wait()
}
