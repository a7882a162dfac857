package postgres

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// server is a PostgreSQL of a test's own, gone when the test ends.
type server struct {
	t    testing.TB
	dir  string
	port int
	as   *syscall.SysProcAttr
	mu   sync.Mutex
	log  bytes.Buffer
	cmd  *exec.Cmd
	done chan struct{}
}

// program returns the path of one of PostgreSQL's programs. Without it the test is
// skipped, or fails where HOLDOFF_POSTGRES=required is set.
func program(t testing.TB, name string) string {
	t.Helper()
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("HOLDOFF_POSTGRES") == "required" {
		t.Fatalf("HOLDOFF_POSTGRES=required, and there is no %s: %v", name, err)
	}
	t.Skipf("no %s on this machine", name)
	return ""
}

// startServer starts a server, and returns when it answers.
func startServer(t testing.TB) *server {
	t.Helper()
	initdb := program(t, "initdb")
	s := &server{t: t, as: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	dir, err := os.MkdirTemp("", "holdoff-pg") // t.TempDir is below a directory that only root may enter
	if err != nil {
		t.Fatal(err)
	}
	s.dir = dir
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		s.dropRights()
	}
	data := filepath.Join(dir, "data")
	init := exec.Command(initdb, "--pgdata", data, "--username", "holdoff", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--no-locale")
	init.SysProcAttr, init.Dir = s.as, dir
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	for range 5 { // another process may take the port first
		s.port = freePort(t)
		if s.start() {
			return s
		}
		s.end(syscall.SIGKILL)
	}
	t.Fatalf("postgres does not answer:\n%s", s.printed())
	return nil
}

// dropRights has the server's programs run as another user.
func (s *server) dropRights() {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(s.dir, uid, gid); err != nil {
			s.t.Fatal(err)
		}
		s.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return
	}
	s.t.Fatal("there is no user to run postgres as")
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start starts the server, (again) on its port and data, and reports whether it answers.
func (s *server) start() bool {
	cmd := exec.Command(program(s.t, "postgres"), "-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.port), "-k", s.dir,
		"-h", "127.0.0.1", "-c", "fsync=off", "-c", "max_connections=300", "-c", "shared_buffers=32MB")
	cmd.SysProcAttr, cmd.Dir, cmd.Stdout, cmd.Stderr = s.as, s.dir, lockedWriter{s}, lockedWriter{s}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	s.cmd, s.done = cmd, done
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-done:
			return false
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		conn, err := pgx.Connect(ctx, s.url())
		if err == nil {
			conn.Close(ctx)
		}
		cancel()
		if err == nil {
			return true
		}
	}
	return false
}

// end ends the server: SIGINT as in a restart, SIGQUIT as in a crash.
func (s *server) end(sig syscall.Signal) {
	if s.cmd != nil {
		s.cmd.Process.Signal(sig)
		<-s.done
	}
}

func (s *server) url() string {
	return fmt.Sprintf("postgres://holdoff@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// pool returns connections of a process of their own, closed when the test ends.
func (s *server) pool() *pgxpool.Pool {
	s.t.Helper()
	pool, err := pgxpool.New(context.Background(), s.url())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(pool.Close)
	return pool
}

func (s *server) exec(sql string, args ...any) {
	s.t.Helper()
	conn, err := pgx.Connect(context.Background(), s.url())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// text returns the one value that a query returns.
func (s *server) text(sql string, args ...any) (value string) {
	s.t.Helper()
	conn, err := pgx.Connect(context.Background(), s.url())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&value); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func (s *server) printed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

type lockedWriter struct{ s *server }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.log.Write(p)
}
