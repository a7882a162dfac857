package holdoff_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// A replica is this test binary, started once more with replicaEnv set. It is
// told what to do on its standard input, a line of JSON each, and answers in
// the same way.

const replicaEnv = "HOLDOFF_REPLICA"

type replicaConfig struct {
	Name, Redis, Server string
	Poisoned            bool // its dials fail
}

// order is what a replica is to do, and report what it says then.
type order struct {
	ID     int
	Do     string // get, await or look
	Host   string
	N      int           // get: how many at a time
	Within time.Duration // get: the context's deadline; 0: none
	Cancel time.Duration // get: when the context is cancelled; 0: never
	Phase  holdoff.Phase // await
	Level  int           // await: at least
}

type report struct {
	ID         int
	Status     map[int]int // responses by status
	Held       int         // *HeldErrors
	Failed     int         // other errors
	Took       time.Duration
	Phase      holdoff.Phase
	Left       time.Duration // until the hold ends
	Level      int
	Shared     bool
	Waiters    int
	Goroutines int
}

func runReplica(config string) {
	var cfg replicaConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		panic(err)
	}
	rdb := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: strings.Split(cfg.Redis, ",")}) // of several, a Cluster
	store, err := holdoff.NewRedisStore(rdb, holdoff.RedisOptions{Timeout: 5 * time.Second})       // many processes, few cores
	if err != nil {
		panic(err)
	}
	base := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		if cfg.Poisoned {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ENETUNREACH}
		}
		return (&net.Dialer{}).DialContext(ctx, network, cfg.Server)
	}}
	r := &replicaProcess{name: cfg.Name, transport: &holdoff.Transport{Route: oneScope, Base: base, Store: store}}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			panic(err)
		}
		go func() {
			answer := r.do(o)
			answer.ID = o.ID
			mu.Lock()
			defer mu.Unlock()
			out.Encode(answer)
		}()
	}
}

type replicaProcess struct {
	name      string
	transport *holdoff.Transport
}

func (r *replicaProcess) do(o order) report {
	switch o.Do {
	case "get":
		return r.get(o)
	case "await":
		for {
			if s := r.look(o.Host); s.Phase == o.Phase && s.Shared && s.Level >= o.Level {
				return s
			}
			time.Sleep(500 * time.Microsecond)
		}
	}
	return r.look(o.Host)
}

func (r *replicaProcess) look(host string) report {
	s := report{Goroutines: runtime.NumGoroutine(), Shared: true}
	for k := range r.transport.Keys() {
		if k.Key == "http://"+host {
			s.Phase, s.Left, s.Level, s.Shared, s.Waiters = k.Phase, time.Until(k.Until), k.Level, k.Shared, k.Waiters
		}
	}
	return s
}

func (r *replicaProcess) get(o order) report {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if o.Within > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.Within)
		defer cancel()
	}
	if o.Cancel > 0 {
		defer time.AfterFunc(o.Cancel, cancel).Stop()
	}
	begun := time.Now()
	s := report{Status: make(map[int]int)}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range max(o.N, 1) {
		wg.Go(func() {
			req, err := http.NewRequestWithContext(ctx, "GET", "http://"+o.Host+"/", nil)
			if err != nil {
				panic(err)
			}
			req.Header.Set("X-Replica", r.name)
			resp, err := r.transport.RoundTrip(req)
			if err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			_, held := errors.AsType[*holdoff.HeldError](err)
			switch {
			case err == nil:
				s.Status[resp.StatusCode]++
			case held:
				s.Held++
			default:
				s.Failed++
			}
		})
	}
	wg.Wait()
	s.Took = time.Since(begun)
	return s
}

// replica is a process, from the outside.
type replica struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser

	mu      sync.Mutex
	n       int
	waiting map[int]chan report
	dead    bool
}

func startReplica(t *testing.T, cfg replicaConfig, env ...string) *replica {
	t.Helper()
	config, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{t: t, name: cfg.Name, waiting: make(map[int]chan report)}
	r.cmd = exec.Command(os.Args[0])
	r.cmd.Env = append(append(os.Environ(), replicaEnv+"="+string(config)), env...)
	r.cmd.Stderr = os.Stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r.in, err = r.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the death signal is the thread's
	defer runtime.UnlockOSThread()
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewScanner(stdout)
	if !out.Scan() || out.Text() != "ready" {
		t.Fatalf("replica %s is not ready: %q", r.name, out.Text())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for out.Scan() {
			var answer report
			if json.Unmarshal(out.Bytes(), &answer) == nil {
				r.mu.Lock()
				c := r.waiting[answer.ID]
				r.mu.Unlock()
				c <- answer
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.dead = true
		for _, c := range r.waiting {
			close(c)
		}
		clear(r.waiting)
	}()
	t.Cleanup(func() {
		r.kill()
		<-done
		r.cmd.Wait()
	})
	return r
}

// kill ends the process as kill -9 does.
func (r *replica) kill() { r.cmd.Process.Kill() }

// order begins what o says. The channel is closed where the process ends first.
func (r *replica) order(o order) <-chan report {
	r.mu.Lock()
	r.n++
	o.ID = r.n
	c := make(chan report, 1)
	if r.dead {
		close(c)
	} else {
		r.waiting[o.ID] = c
	}
	r.mu.Unlock()
	line, _ := json.Marshal(o)
	r.in.Write(append(line, '\n'))
	return c
}

// do waits for the report.
func (r *replica) do(o order) report {
	r.t.Helper()
	return r.wait(r.order(o), o)
}

func (r *replica) wait(c <-chan report, o order) report {
	r.t.Helper()
	select {
	case s, ok := <-c:
		if !ok {
			r.t.Fatalf("replica %s has died", r.name)
		}
		return s
	case <-time.After(40 * time.Second):
		r.t.Fatalf("replica %s has not done in 40 s: %+v", r.name, o)
	}
	return report{}
}

// fleet is a number of replicas.
type fleet []*replica

// do has all replicas do the same, at a time, and returns the sum of what they
// got. Each report goes to see as well, if that isn't nil.
func (f fleet) do(o order, see func(*replica, report)) report {
	sum := report{Status: make(map[int]int)}
	var chans []<-chan report
	for _, r := range f {
		chans = append(chans, r.order(o))
	}
	for i, r := range f {
		r.t.Helper()
		s := r.wait(chans[i], o)
		for status, n := range s.Status {
			sum.Status[status] += n
		}
		sum.Held, sum.Failed, sum.Took = sum.Held+s.Held, sum.Failed+s.Failed, max(sum.Took, s.Took)
		if see != nil {
			see(r, s)
		}
	}
	return sum
}

// origin is the server that the fleet talks to, as many hosts.
type origin struct {
	*httptest.Server
	mu    sync.Mutex
	hosts map[string]*originHost
}

type originHost struct {
	mu    sync.Mutex
	hits  []hit
	serve func(n int, h *hit) (status int, retryAfter string)
}

// hit is one request as the server saw it.
type hit struct {
	at, answered time.Time
	by           string
	status       int
}

func newOrigin(t *testing.T) *origin {
	o := &origin{hosts: make(map[string]*originHost)}
	o.Server = httptest.NewServer(o)
	t.Cleanup(func() {
		o.CloseClientConnections()
		o.Close()
	})
	return o
}

// host adds a host whose nth hit, counted from 1, is answered by serve.
func (o *origin) host(name string, serve func(n int, h *hit) (status int, retryAfter string)) *originHost {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := &originHost{serve: serve}
	o.hosts[name] = h
	return h
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	host := o.hosts[r.Host]
	o.mu.Unlock()
	if host == nil {
		w.WriteHeader(200)
		return
	}
	hit := hit{at: time.Now(), by: r.Header.Get("X-Replica")}
	host.mu.Lock()
	host.hits = append(host.hits, hit)
	n := len(host.hits)
	host.mu.Unlock()
	status, after := host.serve(n, &hit)
	host.mu.Lock()
	host.hits[n-1].answered, host.hits[n-1].status = time.Now(), status
	host.mu.Unlock()
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	w.WriteHeader(status)
}

func (h *originHost) seen() []hit {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]hit(nil), h.hits...)
}

// ok answers 200 after a while.
func okAfter(d time.Duration) (int, string) {
	time.Sleep(d)
	return 200, ""
}

const fleetSize = 16

// One fleet goes through the scenarios, each with a host of its own.
func TestFleet(t *testing.T) {
	srv := redistest.Start(t)
	testFleet(t, srv.Addr, srv.Client())
}

// The same fleet on a Cluster of three masters: what is particular to it is over
// with the first hold, probe and ramp.
func TestFleetOnCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	var addrs []string
	for _, node := range cluster.Nodes {
		addrs = append(addrs, node.Addr)
	}
	testFleet(t, strings.Join(addrs, ","), nil)
}

// testFleet runs all scenarios on one server, to which rdb is a client, and the
// first two on a Cluster.
func testFleet(t *testing.T, addrs string, rdb *redis.Client) {
	if testing.Short() {
		t.Skip("it starts many processes")
	}
	server := newOrigin(t)
	cfg := replicaConfig{Redis: addrs, Server: server.Listener.Addr().String()}
	start := func(t *testing.T, name string, env ...string) *replica {
		cfg := cfg
		cfg.Name, cfg.Poisoned = name, strings.HasPrefix(name, "poisoned")
		return startReplica(t, cfg, env...)
	}
	var all fleet
	for i := range fleetSize {
		all = append(all, start(t, strconv.Itoa(i)))
	}
	warm := func(host string) { all.do(order{Do: "get", Host: host}, nil) }

	// A host that says 429 once, and then is well.
	once := func(after string) func(int, *hit) (int, string) {
		return func(n int, _ *hit) (int, string) {
			if n == 1 {
				return 429, after
			}
			return okAfter(20 * time.Millisecond)
		}
	}
	const short = 800 * time.Millisecond // a deadline shorter than any hint here

	t.Run("what one is told holds all, that host alone, and those that come later", func(t *testing.T) {
		h := server.host("a.example", once("4"))
		begun := time.Now()
		all[0].do(order{Do: "get", Host: "a.example", Within: short})
		end := begun.Add(4 * time.Second)
		slowest := time.Duration(0)
		all.do(order{Do: "await", Host: "a.example", Phase: holdoff.Held}, func(r *replica, s report) {
			if left := time.Until(end); s.Left < left-500*time.Millisecond || s.Left > 4200*time.Millisecond {
				t.Errorf("replica %s is held for %v, want %v", r.name, s.Left, left)
			}
			slowest = max(slowest, time.Since(begun))
		})
		t.Logf("all %d replicas are held %v after the request that was told", fleetSize, slowest.Round(time.Millisecond))
		sum := all.do(order{Do: "get", Host: "a.example", N: 10, Within: short}, nil)
		if sum.Held != 10*fleetSize {
			t.Errorf("requests with a short deadline got %+v, want %d HeldErrors", sum, 10*fleetSize)
		}
		late := start(t, "late")
		if s := late.do(order{Do: "get", Host: "a.example", Within: short}); s.Held != 1 {
			t.Errorf("a replica that joins late got %+v, want a HeldError", s)
		}
		if n := len(h.seen()); n != 1 && time.Now().Before(end) {
			t.Errorf("%d requests reached the server in the hold, want the first alone", n)
		}
		for _, other := range []string{"b.example", "a.example:81", "www.a.example"} {
			o := server.host(other, func(int, *hit) (int, string) { return 200, "" })
			if sum := all.do(order{Do: "get", Host: other, Within: 30 * time.Second}, nil); sum.Status[200] != fleetSize || len(o.seen()) != fleetSize {
				t.Errorf("%s got %+v", other, sum)
			}
		}
	})

	t.Run("a hold is followed by one probe and a ramp", func(t *testing.T) {
		for try := 1; ; try++ {
			name := fmt.Sprintf("ramp%d.example", try)
			h := server.host(name, once("3"))
			warmed := time.Now()
			all[0].do(order{Do: "get", Host: name, Within: short})
			all.do(order{Do: "await", Host: name, Phase: holdoff.Held}, nil)
			sum := all.do(order{Do: "get", Host: name, N: 20}, nil)
			if sum.Status[200] != 20*fleetSize {
				t.Fatalf("%d waiters got %+v", 20*fleetSize, sum)
			}
			hits := h.seen()
			probe := hits[1]
			if d := probe.at.Sub(warmed); d < 3*time.Second {
				t.Errorf("the probe came %v after the request, and the hint was 3 s", d)
			}
			early, worst := 0, ""
			for i, hit := range hits[2:] {
				if hit.at.Before(probe.answered) {
					early++
				}
				// i+1 hits need so many slots.
				slots := int(hit.at.Sub(probe.answered)/(hold.Slot-2*time.Millisecond)) + 1
				if bound := 1<<(slots+1) - 2; i+1 > bound && worst == "" {
					worst = fmt.Sprintf("%d hits in %d slots, want %d at most", i+1, slots, bound)
				}
			}
			if early > 0 {
				t.Errorf("%d requests were sent beside the probe", early)
			}
			t.Logf("try %d: the ramp let %d requests go in %v", try, len(hits)-2, hits[len(hits)-1].at.Sub(probe.answered).Round(time.Millisecond))
			if worst == "" {
				break
			}
			// A fleet that is too slow to use a slot has met its demand.
			if t.Log(worst); try == 3 {
				t.Error("the ramp was not bounded in three tries")
				break
			}
		}
	})

	if rdb == nil {
		return
	}

	t.Run("a probe that fails holds all again, for longer", func(t *testing.T) {
		h := server.host("probe.example", func(n int, _ *hit) (int, string) {
			if n == 1 {
				return 429, "2"
			}
			if n <= 3 {
				return 503, ""
			}
			return okAfter(10 * time.Millisecond)
		})
		all[3].do(order{Do: "get", Host: "probe.example", Within: short})
		all.do(order{Do: "await", Host: "probe.example", Phase: holdoff.Held}, nil)
		waiters := make(chan report)
		go func() { waiters <- all.do(order{Do: "get", Host: "probe.example", N: 3}, nil) }()
		all.do(order{Do: "await", Host: "probe.example", Phase: holdoff.Held, Level: 1}, nil)
		all.do(order{Do: "await", Host: "probe.example", Phase: holdoff.Held, Level: 2}, nil)
		// The two failed probes may have got the 503.
		if sum := <-waiters; sum.Status[200]+sum.Status[503] != 3*fleetSize || sum.Status[503] > 2 {
			t.Errorf("waiters got %+v", sum)
		}
		hits := h.seen()
		for i, least := range map[int]time.Duration{1: 2 * time.Second, 2: 500 * time.Millisecond, 3: time.Second} {
			if d := hits[i].at.Sub(hits[i-1].at); d < least {
				t.Errorf("probe %d came %v after what was sent before, want %v at least", i, d, least)
			}
		}
		if hits[4].at.Before(hits[3].answered) {
			t.Error("somebody sent beside the probe")
		}
	})

	t.Run("a ramp in which nothing is served any more holds all", func(t *testing.T) {
		var refuses atomic.Int64 // since when, ns
		h := server.host("refuse.example", func(n int, _ *hit) (int, string) {
			if n == 6 {
				refuses.Store(time.Now().UnixNano())
			}
			if since := refuses.Load(); n == 1 || since > 0 && time.Now().UnixNano()-since < int64(3*time.Second) {
				return 429, "2"
			}
			return okAfter(10 * time.Millisecond)
		})
		all[5].do(order{Do: "get", Host: "refuse.example", Within: short})
		all.do(order{Do: "await", Host: "refuse.example", Phase: holdoff.Held}, nil)
		waiters := make(chan report)
		go func() { waiters <- all.do(order{Do: "get", Host: "refuse.example", N: 10}, nil) }()
		// The level counts up when the hold ends: the sixth hit, which comes in the ramp,
		// is what tells the second hold from the first.
		eventually(t, "the host was hit six times", func() bool { return len(h.seen()) >= 6 })
		all.do(order{Do: "await", Host: "refuse.example", Phase: holdoff.Held}, nil)
		if sum := <-waiters; sum.Status[200] != 10*fleetSize {
			t.Errorf("waiters got %+v", sum)
		}
		hits := h.seen()
		refused := 0
		for _, hit := range hits[5:] {
			if hit.at.Sub(hits[5].at) < 3*time.Second {
				refused++
			}
		}
		// Those that had a permit of the ramp, a slot or two that find that nothing is
		// served, and a probe.
		if refused > 40 {
			t.Errorf("%d requests were refused, want the few that find that nothing is served", refused)
		}
	})

	t.Run("of 800 refusals in flight one escalates", func(t *testing.T) {
		var arrived atomic.Int64
		server.host("flight.example", func(int, *hit) (int, string) {
			arrived.Add(1)
			for end := time.Now().Add(10 * time.Second); arrived.Load() < 50*fleetSize && time.Now().Before(end); {
				time.Sleep(5 * time.Millisecond)
			}
			return 429, "60"
		})
		seq := func() int {
			n, _ := rdb.HGet(t.Context(), redisName("default", "meta"), "seq").Int()
			return n
		}
		before := seq()
		sum := all.do(order{Do: "get", Host: "flight.example", N: 50, Within: 30 * time.Second}, nil)
		if sum.Status[429] != 50*fleetSize {
			t.Fatalf("%+v, want %d refusals", sum, 50*fleetSize)
		}
		all.do(order{Do: "await", Host: "flight.example", Phase: holdoff.Held}, func(r *replica, s report) {
			if s.Level != 0 {
				t.Errorf("replica %s is at level %d", r.name, s.Level)
			}
		})
		time.Sleep(200 * time.Millisecond)
		n := seq() - before
		t.Logf("%d refusals made %d changes", arrived.Load(), n)
		if n > 25 {
			t.Errorf("%d refusals made %d changes, want a few", arrived.Load(), n)
		}
	})

	t.Run("a longer hint extends, a shorter one and an old success do nothing", func(t *testing.T) {
		released := make(chan struct{})
		h := server.host("longer.example", func(n int, _ *hit) (int, string) {
			if n > 3 {
				return 429, "10"
			}
			<-released
			switch n {
			case 1:
				return okAfter(400 * time.Millisecond)
			case 2:
				time.Sleep(200 * time.Millisecond)
				return 429, "2"
			}
			return 429, "20"
		})
		var chans []<-chan report
		for i := range 3 {
			chans = append(chans, all[i].order(order{Do: "get", Host: "longer.example", Within: 9 * time.Second}))
		}
		eventually(t, "three requests are at the server", func() bool { return len(h.seen()) == 3 })
		close(released)
		for i, c := range chans {
			all[i].wait(c, order{})
		}
		all.do(order{Do: "await", Host: "longer.example", Phase: holdoff.Held}, nil)
		time.Sleep(200 * time.Millisecond)
		all.do(order{Do: "look", Host: "longer.example"}, func(r *replica, s report) {
			if s.Phase != holdoff.Held || s.Left < 10*time.Second || s.Left > 20500*time.Millisecond {
				t.Errorf("replica %s: %v for %v, want held for 20 s", r.name, s.Phase, s.Left)
			}
		})
	})

	t.Run("waiters that are cancelled leave nothing behind", func(t *testing.T) {
		h := server.host("cancel.example", once("4"))
		begun := time.Now()
		all[7].do(order{Do: "get", Host: "cancel.example", Within: short})
		all.do(order{Do: "await", Host: "cancel.example", Phase: holdoff.Held}, nil)
		before := make(map[string]int)
		all.do(order{Do: "look"}, func(r *replica, s report) { before[r.name] = s.Goroutines })
		patient := all[1].order(order{Do: "get", Host: "cancel.example", N: 5})
		sum := all.do(order{Do: "get", Host: "cancel.example", N: 640, Cancel: time.Second}, nil)
		if time.Since(begun) < 3*time.Second && (sum.Failed != 640*fleetSize || len(h.seen()) != 1) {
			t.Errorf("%d cancelled waiters got %+v, and the server saw %d requests", 640*fleetSize, sum, len(h.seen()))
		}
		if s := all[1].wait(patient, order{}); s.Status[200] != 5 {
			t.Errorf("those that stayed got %+v", s)
		}
		for _, r := range all {
			eventually(t, "the waiters are gone", func() bool {
				s := r.do(order{Do: "look", Host: "cancel.example"})
				return s.Waiters == 0 && s.Goroutines < before[r.name]+20
			})
		}
	})

	// TestClockOfRedisDoesNotMatter has the rest.
	t.Run("only durations cross", func(t *testing.T) {
		server.host("zone.example", once("30"))
		some := fleet{start(t, "tokyo", "TZ=Asia/Tokyo"), start(t, "lima", "TZ=America/Lima"), start(t, "utc", "TZ=UTC")}
		some[0].do(order{Do: "get", Host: "zone.example", Within: short})
		append(some, all...).do(order{Do: "await", Host: "zone.example", Phase: holdoff.Held}, func(r *replica, s report) {
			if s.Left < 20*time.Second || s.Left > 30200*time.Millisecond {
				t.Errorf("replica %s is held for %v, want 30 s", r.name, s.Left)
			}
		})
	})

	t.Run("a replica without a network holds nobody", func(t *testing.T) {
		h := server.host("poison.example", func(int, *hit) (int, string) { return 200, "" })
		warm("poison.example")
		poisoned := fleet{start(t, "poisoned1"), start(t, "poisoned2")}
		if sum := poisoned.do(order{Do: "get", Host: "poison.example", N: 100, Within: 3 * time.Second}, nil); sum.Status[200] != 0 {
			t.Fatalf("the poisoned replicas got %+v", sum)
		}
		if sum := all.do(order{Do: "get", Host: "poison.example", N: 5, Within: 30 * time.Second}, nil); sum.Status[200] != 5*fleetSize {
			t.Errorf("the others got %+v", sum)
		}
		if n := rdb.Exists(t.Context(), recordName("default", "http://poison.example")).Val(); n != 0 || len(h.seen()) != 6*fleetSize {
			t.Errorf("the fleet knows of it: %d records, %d hits", n, len(h.seen()))
		}
	})

	// From here on, replicas die.
	t.Run("a prober that is killed is followed by another", func(t *testing.T) {
		blocked := make(chan hit, 1)
		h := server.host("kill.example", func(n int, h *hit) (int, string) {
			switch n {
			case 1:
				return 429, "2"
			case 2:
				blocked <- *h
				time.Sleep(5 * time.Second)
			}
			return okAfter(10 * time.Millisecond)
		})
		all[0].do(order{Do: "get", Host: "kill.example", Within: short})
		all.do(order{Do: "await", Host: "kill.example", Phase: holdoff.Held}, nil)
		chans := make(map[*replica]<-chan report)
		for _, r := range all {
			chans[r] = r.order(order{Do: "get", Host: "kill.example", N: 3})
		}
		var probe hit
		select {
		case probe = <-blocked:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody has probed within 20 s")
		}
		var alive fleet
		for _, r := range all {
			if r.name == probe.by {
				r.kill()
				continue
			}
			alive = append(alive, r)
		}
		all = alive
		for _, r := range all {
			if s := r.wait(chans[r], order{Do: "get"}); s.Status[200] != 3 {
				t.Errorf("replica %s got %+v", r.name, s)
			}
		}
		hits := h.seen()
		if d := hits[2].at.Sub(probe.at); d < time.Second-50*time.Millisecond {
			t.Errorf("the second probe came %v after the first, and the lease is %v", d, time.Second)
		} else {
			t.Logf("the second probe came %v after the first", d.Round(time.Millisecond))
		}
		if hits[3].at.Before(hits[2].answered) {
			t.Error("there were more than two probes")
		}
	})

	t.Run("permits of a replica that is killed lapse with their hold.Slot", func(t *testing.T) {
		victim := all[len(all)-1]
		killed := make(chan struct{}, 1)
		h := server.host("permits.example", func(n int, h *hit) (int, string) {
			if n == 1 {
				return 429, "2"
			}
			if n > 4 && h.by == victim.name {
				select {
				case killed <- struct{}{}:
					victim.kill()
				default:
				}
			}
			return okAfter(30 * time.Millisecond)
		})
		all[0].do(order{Do: "get", Host: "permits.example", Within: short})
		all.do(order{Do: "await", Host: "permits.example", Phase: holdoff.Held}, nil)
		victim.order(order{Do: "get", Host: "permits.example", N: 200})
		all = all[:len(all)-1]
		if sum := all.do(order{Do: "get", Host: "permits.example", N: 10}, nil); sum.Status[200] != 10*len(all) {
			t.Errorf("the others got %+v", sum)
		}
		if len(killed) == 0 {
			t.Log("the replica had no permit beyond the first slots")
		}
		hits := h.seen()
		t.Logf("all were served %v after the probe", hits[len(hits)-1].at.Sub(hits[1].at).Round(time.Millisecond))
	})
}

// commands returns how many commands Redis has executed, by name, without those
// that ask for the number.
func commands(t testing.TB, rdb *redis.Client) map[string]int {
	t.Helper()
	info, err := rdb.Info(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	calls := make(map[string]int)
	for line := range strings.SplitSeq(info, "\r\n") {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if n, _, ok2 := strings.Cut(rest, ","); ok && ok2 && name != "info" {
			calls[name], _ = strconv.Atoi(n)
		}
	}
	return calls
}

// scripts returns how many scripts ran since before.
func scripts(before, after map[string]int) int {
	return after["evalsha"] + after["eval"] - before["evalsha"] - before["eval"]
}

func TestHealthyAndHeldRequestsCostRedisNothing(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	var sends atomic.Int64
	var bad atomic.Bool
	base := baseFunc(func(*http.Request) (*http.Response, error) {
		sends.Add(1)
		if bad.Load() {
			return answer(429, "Retry-After: 60"), nil
		}
		return answer(200), nil
	})
	tr := &holdoff.Transport{Route: oneScope, Base: base, Store: redisStore(t, srv.Client(), holdoff.RedisOptions{}), MaxWait: -1}
	const host = "https://api.example.com"
	for _, phase := range []struct {
		name     string
		requests int
	}{{"healthy", 100_000}, {"held", 10_000}} {
		fetch(t, tr, host)
		time.Sleep(300 * time.Millisecond)
		before, begun, sent := commands(t, rdb), time.Now(), sends.Load()
		for range phase.requests {
			fetch(t, tr, host)
		}
		n := scripts(before, commands(t, rdb))
		polls := int(time.Since(begun)/(time.Second*4/5)) + 2
		t.Logf("%d requests while %s, %v: %d scripts", phase.requests, phase.name, time.Since(begun).Round(time.Millisecond), n)
		if n > polls {
			t.Errorf("%d requests while %s cost %d scripts, and there can have been %d polls", phase.requests, phase.name, n, polls)
		}
		if bad.Load() && sends.Load() != sent {
			t.Errorf("%d requests were sent in the hold", sends.Load()-sent)
		}
		bad.Store(true)
	}
}

func TestTenThousandHeldKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	srv := redistest.Start(t)
	a := redisStore(t, srv.Client(), holdoff.RedisOptions{})
	const keys = 10_000
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		wg.Go(func() {
			for i := next.Add(1); i <= keys; i = next.Add(1) {
				tell(t, a, fmt.Sprint("https://", i, ".example.com"), heldFor(4*time.Minute))
			}
		})
	}
	wg.Wait()
	before := heapBytes()
	begun := time.Now()
	b := redisStore(t, srv.Client(), holdoff.RedisOptions{})
	n := 0
	eventually(t, "who joins knows all keys", func() bool {
		n = len(maps.Collect(b.All()))
		return n == keys
	})
	t.Logf("a cold store knows %d keys after %v, in %d KiB", n, time.Since(begun).Round(time.Millisecond), int64(heapBytes()-before)>>10)
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// shiftedClient is a client of a Redis whose clock is offset seconds ahead: its
// scripts are given another TIME.
type shiftedClient struct {
	narrowClient
	offset *atomic.Int64
}

type noScript struct{}

func (noScript) Error() string { return "NOSCRIPT it is to be sent" }
func (noScript) RedisError()   {}

func (c shiftedClient) EvalSha(ctx context.Context, _ string, _ []string, _ ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(noScript{})
	return cmd
}

func (c shiftedClient) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	shifted := fmt.Sprintf("(function() local t = redis.call('TIME') return {string.format('%%.0f', t[1] + %d), t[2]} end)()", c.offset.Load())
	return c.narrowClient.Eval(ctx, strings.ReplaceAll(script, "redis.call('TIME')", shifted), keys, args...)
}

// To Redis, all replicas' clocks are an hour off.
func TestClockOfRedisDoesNotMatter(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	for _, offset := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(offset.String(), func(t *testing.T) {
			var seconds atomic.Int64
			seconds.Store(int64(offset / time.Second))
			join := func() *holdoff.RedisStore {
				return redisStore(t, shiftedClient{narrowClient{srv.Client()}, &seconds}, holdoff.RedisOptions{Namespace: offset.String()})
			}
			a, b := join(), join()
			told := follow(t, b, "k")
			begun := time.Now()
			state := tell(t, a, "k", heldFor(3*time.Second))
			eventually(t, "the other is held", func() bool { return told().Phase == holdoff.Held })
			record, _ := srv.Client().HGet(t.Context(), recordName(offset.String(), "k"), "until").Int64()
			if d := time.UnixMilli(record).Sub(begun); (d - offset).Abs() > time.Minute {
				t.Fatalf("Redis' clock is %v off, want %v", d, offset)
			}
			for name, s := range map[string]holdoff.State{"who told": state, "who was told": told(), "who joins": follow(t, join(), "k")()} {
				if d := s.Until.Sub(begun); d < 3*time.Second || d > 5*time.Second {
					t.Errorf("%s is held for %v, want 3 s", name, d)
				}
			}
			sleepPast(state.Until)
			if state = tell(t, b, "k", holdoff.Report{Want: 1}); state.Phase != holdoff.Probing || state.Permits != 1 {
				t.Errorf("after the hold: %+v", state)
			}
		})
	}
}

func TestClockOfRedisMayJump(t *testing.T) {
	srv := redistest.Start(t)
	var offset atomic.Int64
	const maxHold = 20 * time.Second
	join := func() *holdoff.RedisStore {
		return redisStore(t, shiftedClient{narrowClient{srv.Client()}, &offset}, holdoff.RedisOptions{MaxHold: maxHold})
	}
	a, b := join(), join()
	for i, seconds := range []int64{-3600, 3600, 0} {
		key := fmt.Sprint("k", i)
		told := follow(t, b, key)
		tell(t, a, key, heldFor(10*time.Second))
		eventually(t, "held", func() bool { return told().Phase == holdoff.Held })
		offset.Store(seconds)
		// Neither what is told, nor what is asked, nor what is read.
		for name, s := range map[string]holdoff.State{"told": told(), "asked": tell(t, b, key, holdoff.Report{}), "read": follow(t, join(), key)()} {
			if left := time.Until(s.Until); left > maxHold {
				t.Errorf("at %+d s, %s: held for %v, and MaxHold is %v", seconds, name, left, maxHold)
			}
		}
		// And what comes next is shared, as soon as the clocks were compared.
		next := fmt.Sprint("next", i)
		told = follow(t, b, next)
		eventually(t, "the next hold is shared", func() bool {
			tell(t, a, next, heldFor(10*time.Second))
			s := told()
			return s.Phase == holdoff.Held && time.Until(s.Until) > 9*time.Second
		})
		if left := time.Until(told().Until); left > 11*time.Second {
			t.Errorf("after %+d s, a hold of 10 s is one of %v", seconds, left)
		}
	}
}
