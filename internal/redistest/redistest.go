// Package redistest runs real Redis servers for tests: each test its own, on
// free ports of the loopback, gone when the test ends.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is one redis-server process.
type Server struct {
	Addr string
	Port int

	t    testing.TB
	dir  string
	file []string
	args []string
	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	log  bytes.Buffer
}

// Binary returns the path of redis-server. Without one the test is skipped, or
// fails where HOLDOFF_REDIS=required is set.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err == nil {
		return path
	}
	if os.Getenv("HOLDOFF_REDIS") == "required" {
		t.Fatalf("redistest: HOLDOFF_REDIS=required, and there is no redis-server: %v", err)
	}
	t.Skip("redistest: no redis-server on this machine")
	return ""
}

// Start starts a server that keeps nothing on disk, with further settings as on
// its command line, and returns when it answers.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, nil, args...)
}

// start starts a server with a file of settings, if any, and others.
func start(t testing.TB, file []string, args ...string) *Server {
	t.Helper()
	Binary(t)
	s := &Server{t: t, dir: t.TempDir(), file: file, args: args}
	t.Cleanup(s.Kill)
	for range 5 { // another process may take the port first
		s.Port = FreePort(t)
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port))
		s.start()
		if s.wait() {
			return s
		}
		s.Kill()
	}
	t.Fatalf("redistest: redis-server does not answer at %s:\n%s", s.Addr, s.Log())
	return nil
}

// FreePort returns a port that nothing listened on a moment ago. It is below
// 55536, so that a Cluster's bus has a port as well.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port < 55536 {
			return port
		}
	}
	t.Fatal("redistest: no free port below 55536")
	return 0
}

// Restart starts the server (again), in the directory and with the settings
// that it had.
func (s *Server) Restart() {
	s.t.Helper()
	for range 3 {
		s.start()
		if s.wait() {
			return
		}
		s.Kill()
	}
	s.t.Fatalf("redistest: redis-server does not answer at %s:\n%s", s.Addr, s.Log())
}

func (s *Server) start() {
	args := append(slices.Clone(s.file), "--port", strconv.Itoa(s.Port), "--bind", "127.0.0.1", "--dir", s.dir)
	if s.file == nil {
		args = append(args, "--save", "", "--appendonly", "no", "--enable-debug-command", "yes")
	}
	args = append(args, s.args...)
	cmd := exec.Command(Binary(s.t), args...)
	cmd.Stdout, cmd.Stderr = lockedWriter{s}, lockedWriter{s}
	// A server must not outlive a test binary that was killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	s.mu.Lock()
	s.cmd, s.done = cmd, done
	s.mu.Unlock()
}

// wait reports whether the server answers, whatever it answers, within a while.
func (s *Server) wait() bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		select {
		case <-s.done:
			return false // its port was taken
		default:
		}
		conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err != nil {
			continue
		}
		conn.SetDeadline(time.Now().Add(time.Second))
		fmt.Fprint(conn, "PING\r\n")
		buf := make([]byte, 64)
		n, _ := conn.Read(buf)
		conn.Close()
		if reply := string(buf[:n]); strings.HasPrefix(reply, "+PONG") || strings.HasPrefix(reply, "-NOAUTH") {
			return true
		}
	}
	return false
}

// Kill ends the server at once, as kill -9 does.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	cmd, done := s.cmd, s.done
	s.mu.Unlock()
	cmd.Process.Signal(sig)
	<-done
}

// Pause stops the process: a server that hangs, with its connections open.
func (s *Server) Pause() { s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue lets a process go on that was paused.
func (s *Server) Continue() { s.cmd.Process.Signal(syscall.SIGCONT) }

// Log returns what the server has printed.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

type lockedWriter struct{ s *Server }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.log.Write(p)
}

// Dir returns the directory in which the server keeps its files.
func (s *Server) Dir() string { return s.dir }

// Client returns a client with go-redis' default settings, closed at the end
// of the test.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// Cluster is a Redis Cluster.
type Cluster struct{ Nodes []*Server }

// StartCluster starts a Cluster of masters without replicas, which share the
// slots evenly.
func StartCluster(t testing.TB, masters int) *Cluster {
	t.Helper()
	c := &Cluster{}
	for range masters {
		c.Nodes = append(c.Nodes, Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
			"--cluster-require-full-coverage", "no"))
	}
	ctx := t.Context()
	const slots = 16384
	for i, node := range c.Nodes {
		client := node.Client()
		if err := client.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
			t.Fatalf("redistest: %v", err)
		}
		if err := client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			t.Fatalf("redistest: %v", err)
		}
		if i > 0 {
			if err := client.ClusterMeet(ctx, "127.0.0.1", strconv.Itoa(c.Nodes[0].Port)).Err(); err != nil {
				t.Fatalf("redistest: %v", err)
			}
		}
	}
	for _, node := range c.Nodes {
		node.await(ctx, "cluster_state:ok")
	}
	return c
}

// await waits until CLUSTER INFO says what.
func (s *Server) await(ctx context.Context, what string) {
	s.t.Helper()
	client := s.Client()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		info, _ := client.ClusterInfo(ctx).Result()
		nodes, _ := client.ClusterNodes(ctx).Result()
		if strings.Contains(info, what) && !strings.Contains(nodes, "handshake") {
			return
		}
	}
	s.t.Fatalf("redistest: the Cluster does not come up:\n%s", s.Log())
}

// Client returns a client for the whole Cluster.
func (c *Cluster) Client() *redis.ClusterClient {
	var addrs []string
	for _, node := range c.Nodes {
		addrs = append(addrs, node.Addr)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	c.Nodes[0].t.Cleanup(func() { client.Close() })
	return client
}
