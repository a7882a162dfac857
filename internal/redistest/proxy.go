package redistest

import (
	"bytes"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Proxy is a TCP proxy in front of a server, which breaks the network in the
// ways that networks break. All its faults can be set at any time, and apply to
// the connections that there are as well.
type Proxy struct {
	Addr string

	t        testing.TB
	listener *net.TCPListener
	running  sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond // with mu: a fault was set, or a connection was closed
	target  string
	conns   map[*proxied]bool
	fillers []net.Conn
	closed  bool
	hole    bool
	faults  Faults
}

// Faults are what a Proxy does to bytes. The zero value passes them on.
type Faults struct {
	StallRequests  bool // what clients send is kept, and passed on later
	StallReplies   bool // so is what the server sends
	LoseRequests   bool // what clients send is accepted, and lost
	LoseReplies    bool // so is what the server sends
	OnlySubscribed bool // the above is true of connections that have subscribed only
	Delay          time.Duration
}

// proxied is one connection, with its two ends.
type proxied struct {
	client, server net.Conn
	subscribed     bool // guarded by Proxy.mu
	gone           chan struct{}
	once           sync.Once
}

func (c *proxied) close() {
	c.once.Do(func() {
		close(c.gone)
		c.client.Close()
		c.server.Close()
	})
}

// StartProxy starts a proxy for the server at target. It is gone when the test
// ends.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), t: t, listener: l.(*net.TCPListener), target: target, conns: make(map[*proxied]bool)}
	p.changed = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.listener.Close()
		p.refill(false)
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Set replaces the faults.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	p.faults = f
	p.mu.Unlock()
	p.changed.Broadcast()
}

// To sends new connections to another server, and cuts those to the old one.
func (p *Proxy) To(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.Cut()
}

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	for c := range p.conns {
		c.close()
	}
	p.mu.Unlock()
	p.changed.Broadcast()
}

// BlackHole makes the proxy a machine that is gone: what was connected hangs,
// and what connects gets no answer to its SYN, since the listener's backlog is
// full. With false, everything goes on.
func (p *Proxy) BlackHole(on bool) {
	p.mu.Lock()
	p.hole = on
	p.mu.Unlock()
	if on {
		p.listener.SetDeadline(time.Now()) // so that accept lets go
		p.refill(true)
		p.Set(Faults{StallRequests: true, StallReplies: true})
		return
	}
	p.refill(false)
	p.listener.SetDeadline(time.Time{})
	p.Set(Faults{})
}

// refill fills the listener's backlog, or empties it.
func (p *Proxy) refill(full bool) {
	backlog := 1024
	if full {
		backlog = 0
	}
	if raw, err := p.listener.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { syscall.Listen(int(fd), backlog) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.fillers {
		c.Close()
	}
	p.fillers = nil
	for full {
		c, err := net.DialTimeout("tcp", p.Addr, 100*time.Millisecond)
		if err != nil {
			break
		}
		p.fillers = append(p.fillers, c)
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		p.mu.Lock()
		closed, hole, target := p.closed, p.hole, p.target
		p.mu.Unlock()
		switch {
		case closed:
			if err == nil {
				client.Close()
			}
			return
		case err != nil:
			time.Sleep(5 * time.Millisecond) // the black hole's deadline
			continue
		case hole:
			// It was in the backlog before that was full.
			p.mu.Lock()
			p.fillers = append(p.fillers, client)
			p.mu.Unlock()
			continue
		}
		p.running.Go(func() { p.serve(client, target) })
	}
}

func (p *Proxy) serve(client net.Conn, target string) {
	server, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		client.Close()
		return
	}
	c := &proxied{client: client, server: server, gone: make(chan struct{})}
	p.mu.Lock()
	p.conns[c] = true
	if p.closed || p.target != target {
		c.close()
	}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pump(c, client, server, true) })
	both.Go(func() { p.pump(c, server, client, false) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// pump passes on what one end sends, as the faults have it.
func (p *Proxy) pump(c *proxied, from, to net.Conn, requests bool) {
	defer p.changed.Broadcast() // the other direction may be stalled
	defer c.close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && p.pass(c, buf[:n], requests) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits as long as data has to wait, and reports whether they are passed
// on.
func (p *Proxy) pass(c *proxied, data []byte, requests bool) bool {
	p.mu.Lock()
	if requests && bytes.Contains(bytes.ToLower(data), []byte("\r\nsubscribe\r\n")) {
		c.subscribed = true
	}
	for {
		f := p.faults
		touched := !f.OnlySubscribed || c.subscribed
		stalled := touched && (requests && f.StallRequests || !requests && f.StallReplies)
		select {
		case <-c.gone:
			p.mu.Unlock()
			return false
		default:
		}
		if stalled {
			p.changed.Wait()
			continue
		}
		p.mu.Unlock()
		if touched && f.Delay > 0 {
			select {
			case <-c.gone:
				return false
			case <-time.After(f.Delay):
			}
		}
		return !(touched && (requests && f.LoseRequests || !requests && f.LoseReplies))
	}
}
