package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// A whole fleet restarts, each process with a client of its own.
func TestThousandClientsAtOnce(t *testing.T) {
	wanted(t)
	begin(t)
	srv := redistest.Start(t)
	rdb := srv.Client()
	first, err := holdoff.NewRedisStore(rdb, holdoff.RedisOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	const key = "http://held.example"
	if _, err := first.Report(t.Context(), key, holdoff.Report{Hint: 2 * time.Minute, ServerDirected: true, Status: 429}); err != nil {
		t.Fatal(err)
	}
	rdb.ConfigResetStat(t.Context())

	n := either(400, 1000)
	stores := make([]*holdoff.RedisStore, n)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			client := redis.NewClient(&redis.Options{Addr: srv.Addr})
			t.Cleanup(func() { client.Close() })
			s, err := holdoff.NewRedisStore(client, holdoff.RedisOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			stores[i] = s
		})
	}
	wg.Wait()
	made := time.Since(start)
	knows := func(s *holdoff.RedisStore) bool {
		for k, state := range s.All() {
			if k == key && state.Phase == holdoff.Held {
				return true
			}
		}
		return false
	}
	atOnce := 0
	for _, s := range stores {
		if knows(s) {
			atOnce++
		}
	}
	for _, s := range stores {
		for end := time.Now().Add(30 * time.Second); !knows(s); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a store does not know the hold after 30 s")
			}
		}
	}
	all := time.Since(start)
	info, err := rdb.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Error(err)
	}
	calls := 0
	for line := range strings.Lines(info) {
		if _, rest, ok := strings.Cut(line, "cmdstat_evalsha:calls="); ok {
			fmt.Sscanf(rest, "%d", &calls)
		}
	}
	for _, s := range stores {
		wg.Go(func() { s.Close() })
	}
	wg.Wait()
	t.Logf("MEASURED %d stores: made in %v, %d know the hold then, all after %v; %d scripts", n, made.Round(time.Millisecond), atOnce, all.Round(time.Millisecond), calls)
	if limit := n * (10 + 4*int(all/time.Second+1)); calls > limit {
		t.Errorf("%d stores ran %d scripts, want at most %d", n, calls, limit)
	}
}

// refusing is a Base that refuses everything, for long.
type refusing struct{}

func (refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusTooManyRequests, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Retry-After": {"240"}}, Body: io.NopCloser(strings.NewReader("")), Request: req,
	}, nil
}

// An attacker has us meet ever new hosts, all of which refuse. What was known before
// stays shared, and memory bounded.
func TestHostNamesOfAnAttacker(t *testing.T) {
	wanted(t)
	begin(t)
	srv := redistest.Start(t)
	var transports []*holdoff.Transport
	for range 2 {
		store, err := holdoff.NewRedisStore(srv.Client(), holdoff.RedisOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		transports = append(transports, &holdoff.Transport{Route: oneScope, Base: refusing{}, Store: store})
	}
	get := func(tr *holdoff.Transport, host string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+host+"/", nil)
		if err != nil {
			t.Error(err)
			return
		}
		if resp, err := tr.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
	}
	shared := func(host string) bool {
		for k := range transports[1].Keys() {
			if k.Key == "http://"+host {
				return k.Phase == holdoff.Held && k.Shared
			}
		}
		return false
	}
	wait := func(host string) time.Duration {
		start := time.Now()
		for !shared(host) {
			if time.Since(start) > 30*time.Second {
				t.Errorf("the hold of %s is not shared after 30 s", host)
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		return time.Since(start)
	}
	get(transports[0], "before.example")
	wait("before.example")

	before := memory()
	n := either(20_000, 200_000)
	start := time.Now()
	for i := range n {
		get(transports[0], fmt.Sprintf("%d.attacker.example", i))
		if i%64 == 0 {
			time.Sleep(time.Millisecond) // what one client can make us do, not what a loop can
		}
	}
	took := time.Since(start)
	after := "not shared: there are too many"
	if !full {
		get(transports[0], "after.example")
		after = wait("after.example").Round(time.Millisecond).String()
	}
	if !shared("before.example") {
		t.Error("the hold that was known before is not shared any more")
	}
	grown := int64(memory()) - int64(before)
	records, _ := srv.Client().DBSize(t.Context()).Result()
	t.Logf("MEASURED %d hosts in %v: %d MiB more, %d keys in Redis; another host was shared after: %s", n, took.Round(time.Millisecond), grown>>20, records, after)
	if grown > 160<<20 {
		t.Errorf("memory has grown by %d MiB", grown>>20)
	}
	if records > 32<<10+3 {
		t.Errorf("there are %d keys in Redis", records)
	}
	runtime.KeepAlive(transports)
}

// stoppedEnv is set where this binary is a process that is to be stopped.
const stoppedEnv = "HOLDOFF_FAULTS_STOPPED"

type stoppedConfig struct{ Redis, Server string }

// runStopped is that process: it asks for the held host again and again.
func runStopped(config string) {
	var cfg stoppedConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		panic(err)
	}
	store, err := holdoff.NewRedisStore(redis.NewClient(&redis.Options{Addr: cfg.Redis}), holdoff.RedisOptions{})
	if err != nil {
		panic(err)
	}
	base := &http.Transport{DialContext: dialTo(cfg.Server)}
	tr := &holdoff.Transport{Route: oneScope, Base: base, Store: store}
	fmt.Println("ready")
	for {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", "http://"+held+"/", nil)
			if err != nil {
				panic(err)
			}
			req.Header.Set("X-Replica", "stopped")
			if resp, err := tr.RoundTrip(req); err == nil {
				resp.Body.Close()
			}
		}()
		time.Sleep(20 * time.Millisecond)
	}
}

// A process is stopped in mid-hold, and goes on when that hold is over for it, while
// the fleet is in the next one. It has a hundred requests in line, and sends none of
// them without asking.
func TestProcessStoppedAcrossTheEndOfAHold(t *testing.T) {
	wanted(t)
	t.Parallel()
	begin(t)
	srv := redistest.Start(t)
	r := newRig(t, 2, func(int) redis.UniversalClient { return redis.NewClient(&redis.Options{Addr: srv.Addr}) })
	config, err := json.Marshal(stoppedConfig{srv.Addr, r.origin.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), stoppedEnv+"="+string(config))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the death signal is the thread's
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	bufio.NewReader(stdout).ReadString('\n')
	time.Sleep(500 * time.Millisecond)

	until := r.hold(3 * time.Second)
	time.Sleep(time.Second)
	cmd.Process.Signal(syscall.SIGSTOP)
	r.origin.refuse(held, 9*time.Second) // the probe after the hold is refused for as long
	time.Sleep(time.Until(until.Add(1500 * time.Millisecond)))
	woken := time.Now()
	cmd.Process.Signal(syscall.SIGCONT)
	time.Sleep(3 * time.Second)
	sent := 0
	for _, h := range r.origin.between(held, woken, time.Now()) {
		if h.by == "stopped" {
			sent++
		}
	}
	t.Logf("MEASURED a process that slept over the end of a hold has sent %d requests in the next one", sent)
	if sent > 1 { // one, where its clock was believed before the store was asked
		t.Errorf("it has sent %d", sent)
	}
}
