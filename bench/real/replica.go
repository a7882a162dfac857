package real

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// ReplicaEnv is set in the environment of a process that is to be a replica, and
// to call [Replica] and nothing else.
const ReplicaEnv = "HOLDOFF_BENCH_REPLICA"

// job is what a replica is to do.
type job struct {
	URL         string
	Work        fleet.Work
	Contender   string
	Redis       string // address; empty where there is none to share through
	Unreachable bool   // its network is broken
	Seed        uint64
}

// order is to send for a while.
type order struct {
	Start   time.Time
	Sending time.Duration
}

// message is what a replica has to say: that it is ready, then what became of each
// request, and at last that there are no more.
type message struct {
	Answer *fleet.Answer `json:",omitempty"`
	Done   bool          `json:",omitempty"`
}

// Replica is what main is in the process of a replica. It reads a job and then an
// order from stdin, which stays open for as long as the process is wanted, and
// writes messages to stdout. It returns the exit status.
func Replica(stdin io.Reader, stdout, stderr io.Writer) int {
	if err := replica(stdin, stdout); err != nil {
		fmt.Fprintln(stderr, "a replica:", err)
		return 1
	}
	return 0
}

func replica(stdin io.Reader, stdout io.Writer) error {
	input := json.NewDecoder(stdin)
	var j job
	if err := input.Decode(&j); err != nil {
		return err
	}
	client, end, err := j.client()
	if err != nil {
		return err
	}
	defer end()

	var mu sync.Mutex // keeps messages whole
	output := json.NewEncoder(stdout)
	say := func(m message) {
		mu.Lock()
		defer mu.Unlock()
		output.Encode(m)
	}
	say(message{})
	var o order
	if err := input.Decode(&o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		// The input ends when this process is not wanted any more: at the latest
		// with the process that started it, however that ends.
		io.Copy(io.Discard, stdin)
		cancel()
	}()
	j.Work.Sending = o.Sending
	time.Sleep(time.Until(o.Start))
	j.Work.Each(ctx, j.URL, func(int) *http.Client { return client }, j.Work.Asks(j.Seed), func(a fleet.Answer) { say(message{Answer: &a}) })
	say(message{Done: true})
	<-ctx.Done() // so that all replicas poll their Redis while the run lasts
	return nil
}

// client returns what the replica sends its requests through.
func (j job) client() (*http.Client, func(), error) {
	c, err := contenderNamed(j.Contender)
	if err != nil {
		return nil, nil, err
	}
	var rdb *redis.Client
	if c.shares {
		rdb = redis.NewClient(&redis.Options{Addr: j.Redis})
	}
	rt, end, err := c.make(j.base(), rdb)
	return &http.Client{Transport: rt}, end, err
}

// base is the same for all contenders: with as many connections as are of use.
func (j job) base() http.RoundTripper {
	if j.Unreachable {
		return unreachable{}
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 64
	base.ResponseHeaderTimeout = fleet.AttemptTimeout
	return base
}

// unreachable is a network on which nobody can be reached.
type unreachable struct{}

func (unreachable) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
}
