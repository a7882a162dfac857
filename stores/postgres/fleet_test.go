package postgres

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A replica is this test binary, started again with replicaEnv set. It says "ready",
// begins when its standard input ends, and prints what its callers got.

const replicaEnv = "HOLDOFF_REPLICA"

type replicaConfig struct {
	Database string // empty: a MemoryStore of its own
	Server   string
	Callers  int
	For      time.Duration
}

// outcome is what the callers of one replica got, by status; 0 is an error.
type outcome struct {
	Calls map[int]int
	Error string // the last
	Store string // what Store.Err said at the end
}

func runReplica(config string) {
	var cfg replicaConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		panic(err)
	}
	var store holdoff.Store = &holdoff.MemoryStore{}
	failed := func() error { return nil }
	if cfg.Database != "" {
		pool, err := pgxpool.New(context.Background(), cfg.Database)
		if err != nil {
			panic(err)
		}
		s, err := New(context.Background(), pool, Options{Timeout: 5 * time.Second}) // many processes, few cores
		if err != nil {
			panic(err)
		}
		store, failed = s, s.Err
	}
	client := &http.Client{Transport: &holdoff.Transport{Base: &http.Transport{MaxIdleConnsPerHost: 64}, Store: store}}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)

	out := outcome{Calls: make(map[int]int)}
	var mu sync.Mutex
	var wg sync.WaitGroup
	end := time.Now().Add(cfg.For)
	for range cfg.Callers {
		wg.Go(func() {
			for time.Now().Before(end) {
				time.Sleep(rand.N(time.Second))
				status := 0
				resp, err := client.Get(cfg.Server)
				if err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					status = resp.StatusCode
				}
				mu.Lock()
				out.Calls[status]++
				if err != nil {
					out.Error = err.Error()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := failed(); err != nil {
		out.Store = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(out)
}

// startReplica starts a process. begin has its callers begin, and the channel then has
// what they got.
func startReplica(t *testing.T, cfg replicaConfig) (begin func(), result <-chan outcome) {
	t.Helper()
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), replicaEnv+"="+string(config))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the death signal is the thread's
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	out := bufio.NewScanner(stdout)
	if !out.Scan() || out.Text() != "ready" {
		t.Fatalf("a replica is not ready: %q", out.Text())
	}
	c := make(chan outcome, 1)
	go func() {
		defer close(c)
		var o outcome
		if out.Scan() && json.Unmarshal(out.Bytes(), &o) == nil {
			c <- o
		}
	}()
	return func() { in.Close() }, c
}

// throttle runs 16 processes against a server that is well for a second, and then
// refuses for some. It returns what it refused, and what the callers got.
func throttle(t *testing.T, database string) (refused int, calls map[int]int) {
	const replicas, from, to = 16, time.Second, 7 * time.Second
	var begun atomic.Pointer[time.Time]
	var refusals atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		begun.CompareAndSwap(nil, &now)
		if age := now.Sub(*begun.Load()); from <= age && age < to {
			w.Header().Set("Retry-After", "2") // and again, for as long as the trouble lasts
			w.WriteHeader(http.StatusTooManyRequests)
			refusals.Add(1)
		}
	}))
	t.Cleanup(server.Close)
	var begins []func()
	var results []<-chan outcome
	for range replicas {
		begin, result := startReplica(t, replicaConfig{Database: database, Server: server.URL, Callers: 10, For: 11 * time.Second})
		begins, results = append(begins, begin), append(results, result)
	}
	for _, begin := range begins {
		begin()
	}
	calls = make(map[int]int)
	for _, result := range results {
		select {
		case o, ok := <-result:
			if !ok {
				t.Fatal("a replica has died")
			}
			for status, n := range o.Calls {
				calls[status] += n
			}
			if o.Error != "" || o.Store != "" {
				t.Errorf("a replica's last error is %q, and its store's %q", o.Error, o.Store)
			}
		case <-time.After(time.Minute):
			t.Fatal("a replica has not ended within a minute")
		}
	}
	return int(refusals.Load()), calls
}

func TestFleet_ThrottledServerRefusesFewer(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts many processes")
	}
	srv := startServer(t)
	alone, got := throttle(t, "")
	t.Logf("16 processes, each with a MemoryStore: %d refused, callers got %v", alone, got)
	shared, got := throttle(t, srv.url())
	t.Logf("16 processes that share a PostgreSQL:  %d refused, callers got %v", shared, got)
	if len(got) != 1 || got[200] == 0 {
		t.Errorf("callers got %v, want 200 only", got)
	}
	if shared >= alone {
		t.Errorf("%d sends were refused with a shared store, and %d without", shared, alone)
	}
}
