// Package faults breaks Redis under a fleet in the ways that operations know,
// and looks at what requests notice of it. They must notice nothing: neither an
// error nor a wait. It has tests only.
//
// HOLDOFF_FAULTS=short runs it in about a minute; HOLDOFF_FAULTS=full makes faults
// last as long as they do in operation. It compares latencies then, and wants the
// machine to itself. Without that variable only those tests run that hold whatever
// else the machine does.
package faults

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/go-holdoff/holdoff"
)

// asked is whether there is a machine to compare latencies on, and full whether
// faults last as long as in production.
var (
	asked = os.Getenv("HOLDOFF_FAULTS") != ""
	full  = os.Getenv("HOLDOFF_FAULTS") == "full"
)

// either returns the value for the short mode, or for the long one.
func either[T any](short, long T) T {
	if full {
		return long
	}
	return short
}

// clientLog counts what go-redis itself would print to standard error, which is
// not the store's to silence.
type clientLog struct{ lines atomic.Int64 }

func (l *clientLog) Printf(context.Context, string, ...any) { l.lines.Add(1) }

var goRedis clientLog

func TestMain(m *testing.M) {
	if config := os.Getenv(stoppedEnv); config != "" {
		runStopped(config)
		return
	}
	flag.Parse()
	redis.SetLogger(&goRedis)
	// The tests wait for most of their time, and may do so together: as many as
	// the race detector leaves room for.
	flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		fmt.Printf("go-redis itself would have printed %d lines\n", goRedis.lines.Load())
		os.Exit(code)
	}))
}

// origin is the server that the fleet talks to, as many hosts.
type origin struct {
	*httptest.Server
	mu     sync.Mutex
	closed map[string]time.Time // until when a host refuses
	hits   map[string][]hit
	slow   map[string]time.Duration // what an answer of a host takes
}

// hit is one request as the server saw it.
type hit struct {
	at     time.Time
	by     string
	status int
}

func newOrigin(t testing.TB) *origin {
	o := &origin{closed: make(map[string]time.Time), hits: make(map[string][]hit), slow: make(map[string]time.Duration)}
	o.Server = httptest.NewServer(o)
	t.Cleanup(func() {
		o.CloseClientConnections()
		o.Close()
	})
	return o
}

// refuse has a host refuse for a while, as a server does that has enough: it
// says to everybody how long it will.
func (o *origin) refuse(host string, d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed[host] = time.Now().Add(d)
}

// answersAfter has a host take its time for an answer.
func (o *origin) answersAfter(host string, d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slow[host] = d
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	now := time.Now()
	o.mu.Lock()
	if left := o.closed[r.Host].Sub(now); left > 0 {
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After-Ms", strconv.FormatInt(left.Milliseconds()+1, 10))
	}
	if r.Host != healthy {
		o.hits[r.Host] = append(o.hits[r.Host], hit{now, r.Header.Get("X-Replica"), status})
	}
	slow := o.slow[r.Host]
	o.mu.Unlock()
	if slow > 0 && status == http.StatusOK {
		time.Sleep(slow)
	}
	w.WriteHeader(status)
}

// between returns the hits of a host in a span of time.
func (o *origin) between(host string, from, to time.Time) (hits []hit) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range o.hits[host] {
		if h.at.After(from) && h.at.Before(to) {
			hits = append(hits, h)
		}
	}
	return hits
}

const (
	healthy = "healthy.example"
	held    = "held.example"
	// longHint is the shortest hint that holds others: holdoff's own minHold.
	longHint = 2 * time.Second
	// slack is what a machine with much to do may add between an answer and
	// the time that the gate knows of it.
	slack = 150 * time.Millisecond
)

// replica is a Transport with a store and a client of its own.
type replica struct {
	name  string
	rdb   redis.UniversalClient
	store *holdoff.RedisStore
	tr    *holdoff.Transport
	asks  http.RoundTripper // what requests are made with: tr, or what is around it
	http  *http.Transport
	logs  *observer.ObservedLogs // of the store
	fails atomic.Int64           // StoreFailed of the Transport
	backs atomic.Int64           // StoreBack
	early atomic.Int64           // requests that were sent though a hint was known

	mu    sync.Mutex
	known map[string]hint
}

// hint is what a replica was told, and when.
type hint struct{ told, until time.Time }

// RoundTrip is the replica's Base: it sees all that is sent.
func (r *replica) RoundTrip(req *http.Request) (*http.Response, error) {
	begun := time.Now()
	host := req.URL.Host
	r.mu.Lock()
	k := r.known[host]
	r.mu.Unlock()
	if begun.Sub(k.told) > slack && k.until.Sub(begun) > slack {
		r.early.Add(1)
	}
	resp, err := r.http.RoundTrip(req)
	if t, ok := req.Context().Value(spentKey{}).(*time.Duration); ok {
		*t += time.Since(begun)
	}
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		ms, _ := strconv.Atoi(resp.Header.Get("Retry-After-Ms"))
		now := time.Now()
		if d := time.Duration(ms) * time.Millisecond; d >= longHint && !r.serves(host) {
			r.mu.Lock()
			if until := now.Add(d); until.After(r.known[host].until) {
				r.known[host] = hint{now, until}
			}
			r.mu.Unlock()
		}
	}
	return resp, err
}

// serves reports whether a host serves requests while it refuses others, as far as the
// replica knows: there a hint asks for less, and not for silence.
func (r *replica) serves(host string) bool {
	switch r.look(host).Phase {
	case holdoff.Ramping, holdoff.Counted, holdoff.Paced:
		return true
	}
	return false
}

// spentKey is of the time that a request spent in Base.
type spentKey struct{}

func (r *replica) get(ctx context.Context, host string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+host+"/", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Replica", r.name)
	resp, err := r.asks.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, err
}

// look returns what the replica knows of a host.
func (r *replica) look(host string) (found holdoff.KeyState) {
	for k := range r.tr.Keys() {
		if k.Key == "http://"+host {
			found = k
		}
	}
	return found
}

// window is what was measured in a span of time.
type window struct {
	mu       sync.Mutex
	total    []time.Duration // of requests on the healthy key
	own      []time.Duration // what the Transport added to them
	failures []error
	hiccup   time.Duration // the longest that the machine kept a sleeper asleep
}

func (w *window) request(total, own time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total, w.own = append(w.total, total), append(w.own, own)
	w.fail(err)
}

// fail notes an error. The caller holds mu.
func (w *window) fail(err error) {
	if err != nil {
		w.failures = append(w.failures, err)
	}
}

// timing reports that something was late, or said too often. Where the machine
// itself kept everybody asleep for about as long as the store waits for Redis,
// that proves nothing, and is only noted.
func (r *rig) timing(format string, args ...any) {
	r.t.Helper()
	if asleep := time.Duration(r.worst.Load()); asleep > 150*time.Millisecond {
		r.t.Logf("void, since the machine slept for %v: %s", asleep, fmt.Sprintf(format, args...))
		return
	}
	r.t.Errorf(format, args...)
}

// quantile returns that of durations, which it sorts.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(q*float64(len(d))), len(d)-1)]
}

// rig is a fleet under load.
type rig struct {
	t        *testing.T
	origin   *origin
	replicas []*replica
	win      atomic.Pointer[window]
	worst    atomic.Int64 // the longest hiccup of all windows
	stop     context.CancelFunc
	load     sync.WaitGroup
	hosts    int
	label    string
}

// newRig starts n replicas with clients that connect makes, and puts them under
// load.
func newRig(t *testing.T, n int, connect func(i int) redis.UniversalClient) *rig {
	t.Helper()
	r := newIdleRig(t, n, connect)
	r.start()
	return r
}

func newIdleRig(t *testing.T, n int, connect func(i int) redis.UniversalClient) *rig {
	t.Helper()
	r := &rig{t: t, label: t.Name(), origin: newOrigin(t), stop: func() {}}
	r.win.Store(&window{})
	for i := range n {
		r.add(fmt.Sprintf("r%d", i), connect(i))
	}
	t.Cleanup(r.close)
	return r
}

// start puts the fleet under load: steadily where latencies are compared, and
// elsewhere no faster than the machine can.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	pace, heldPace, each := 25*time.Millisecond, 60*time.Millisecond, every
	if !asked {
		pace, heldPace, each = 100*time.Millisecond, 250*time.Millisecond, inTurn
	}
	for _, rep := range r.replicas {
		r.load.Go(func() { each(ctx, pace, func(int) { r.healthyRequest(rep) }) })
		r.load.Go(func() { each(ctx, heldPace, func(n int) { r.heldRequest(ctx, rep, n) }) })
	}
	if asked {
		r.load.Go(func() { r.sleeper(ctx) })
	}
}

// oneScope is a Route: what Redis does to one hold of a host is tried here.
func oneScope(*http.Request) string { return "" }

func (r *rig) add(name string, rdb redis.UniversalClient) {
	core, logs := observer.New(zapcore.InfoLevel)
	store, err := holdoff.NewRedisStore(rdb, holdoff.RedisOptions{Logger: zap.New(core)})
	if err != nil {
		r.t.Fatal(err)
	}
	rep := &replica{name: name, rdb: rdb, store: store, logs: logs, known: make(map[string]hint)}
	rep.http = &http.Transport{MaxIdleConns: 24, MaxIdleConnsPerHost: 16, DialContext: dialTo(r.origin.Listener.Addr().String())}
	rep.tr = &holdoff.Transport{Route: oneScope, Base: rep, Store: store, Observe: func(_ context.Context, e holdoff.Event) {
		switch e.Kind {
		case holdoff.StoreFailed:
			rep.fails.Add(1)
		case holdoff.StoreBack:
			rep.backs.Add(1)
		}
	}}
	rep.asks = rep.tr
	r.replicas = append(r.replicas, rep)
}

// dialTo returns a dialer that reaches one address whatever it is asked for: a
// server that has all names.
func dialTo(addr string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}

func (r *rig) close() {
	r.stop()
	r.load.Wait()
	for _, rep := range r.replicas {
		begun := time.Now()
		rep.store.Close()
		if d := time.Since(begun); d > 2*time.Second {
			r.t.Errorf("Close of a store took %v", d)
		}
		rep.http.CloseIdleConnections()
		rep.rdb.Close()
	}
}

// maxUnderway bounds the calls that one load has under way: a machine that can't
// keep up is not to drown in them.
const maxUnderway = 200

// every calls do at a steady pace, whether or not the last call has returned: a
// load that waits for its answers hides how long they take.
func every(ctx context.Context, pace time.Duration, do func(n int)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	underway := make(chan struct{}, maxUnderway)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case underway <- struct{}{}:
			wg.Go(func() {
				do(n)
				<-underway
			})
		default:
		}
	}
}

// inTurn calls do again a pause after the last call has returned.
func inTurn(ctx context.Context, pause time.Duration, do func(n int)) {
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			do(n)
		}
	}
}

// sleeper finds out how long the machine itself keeps everybody waiting, so
// that the store isn't blamed for it.
func (r *rig) sleeper(ctx context.Context) {
	for ctx.Err() == nil {
		begun := time.Now()
		time.Sleep(2 * time.Millisecond)
		late := time.Since(begun) - 2*time.Millisecond
		w := r.win.Load()
		w.mu.Lock()
		w.hiccup = max(w.hiccup, late)
		w.mu.Unlock()
		r.worst.Store(max(r.worst.Load(), int64(late)))
	}
}

func (r *rig) healthyRequest(rep *replica) {
	var spent time.Duration
	begun := time.Now()
	status, err := rep.get(context.WithValue(context.Background(), spentKey{}, &spent), healthy)
	total := time.Since(begun)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	// One that was slow belongs to the time in which it was found to be.
	r.win.Load().request(total, total-spent, err)
}

// heldRequest asks for what is held now and then: most requests have no
// patience, some stand in line.
func (r *rig) heldRequest(ctx context.Context, rep *replica, n int) {
	patience := 30 * time.Millisecond
	if n%8 == 0 {
		patience = 4 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := rep.get(ctx, held)
	if _, ok := errors.AsType[*holdoff.HeldError](err); ok || ctx.Err() != nil {
		return
	}
	w := r.win.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(err)
}

// measure begins a window, and returns what the last one measured.
func (r *rig) measure() *window {
	w := r.win.Swap(&window{})
	w.mu.Lock()
	defer w.mu.Unlock()
	return &window{total: slices.Clone(w.total), own: slices.Clone(w.own), failures: slices.Clone(w.failures), hiccup: w.hiccup}
}

// wait waits until holds does, and returns how long that took.
func (r *rig) wait(what string, within time.Duration, holds func() bool) time.Duration {
	r.t.Helper()
	begun, late := time.Now(), false
	for !holds() {
		since := time.Since(begun)
		if since > within && !late {
			late = true
			r.timing("not within %v: %s", within, what)
			for _, rep := range r.replicas {
				r.t.Logf("%s knows of the held key %+v, and of the healthy one %+v", rep.name, rep.look(held), rep.look(healthy))
			}
		}
		if since > max(4*within, time.Minute) {
			r.t.Errorf("not within %v: %s", since, what)
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(begun)
}

// all reports whether it is true of all replicas.
func (r *rig) all(is func(*replica) bool) bool {
	return !slices.ContainsFunc(r.replicas, func(rep *replica) bool { return !is(rep) })
}

// tell has the server refuse one replica at a new host, and returns how long it
// took until all replicas knew.
func (r *rig) tell(by *replica, within time.Duration) time.Duration {
	r.t.Helper()
	r.hosts++
	host := fmt.Sprintf("told-%d.example", r.hosts)
	r.origin.refuse(host, 2*time.Minute)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if status, err := by.get(ctx, host); status != http.StatusTooManyRequests {
		r.t.Errorf("%s: %d, %v", host, status, err)
	}
	return r.wait("a hold that one replica was told of reaches all", within, func() bool {
		return r.all(func(rep *replica) bool {
			k := rep.look(host)
			return k.Phase == holdoff.Held && k.Shared
		})
	})
}

// hold has the server refuse at the held host, and returns when that ends. All
// replicas know it by then, from each other or by themselves.
func (r *rig) hold(d time.Duration) time.Time {
	r.t.Helper()
	until := time.Now().Add(d)
	r.origin.refuse(held, d)
	r.wait("all replicas hold", d, func() bool {
		return r.all(func(rep *replica) bool { return rep.look(held).Phase == holdoff.Held })
	})
	return until
}

// goroutines counts those that began with the test and work for Redis: neither
// requests and their load nor connections that the load keeps.
func (r *rig) goroutines() int {
	return labelled(r.label, "/holdoff.(*RedisStore)", "/holdoff.(*link)", "/redisrun.", "/go-redis/")
}

// checkGoroutines looks whether no more goroutines work for Redis than each store
// and its client may have at the worst: 16 calls, each with somebody who waits
// for it, a dial for each place in the client's pool, and some for the
// subscription and those that were given up.
func (r *rig) checkGoroutines(n int) {
	r.t.Helper()
	if limit := len(r.replicas) * (2*16 + 10*runtime.GOMAXPROCS(0) + 8); n > limit {
		r.t.Errorf("%d goroutines work for Redis, want at most %d", n, limit)
	}
}

// labelled counts the goroutines that began with a test, or those of them that
// are in a function with one of the names.
func labelled(label string, names ...string) (n int) {
	var buf bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&buf, 1)
	for stack := range strings.SplitSeq(buf.String(), "\n\n") {
		in := len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return strings.Contains(stack, name) })
		if in && strings.Contains(stack, fmt.Sprintf("{%q:%q}", "fault", label)) {
			count, _, _ := strings.Cut(stack, " @")
			k, _ := strconv.Atoi(count[strings.LastIndexByte(count, '\n')+1:])
			n += k
		}
	}
	return n
}

// begin marks the test's goroutines, and finds at its very end those that it
// left behind: tests run together, and each answers for its own.
func begin(t *testing.T) {
	t.Helper()
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("fault", t.Name())))
	t.Cleanup(func() {
		for end := time.Now().Add(20 * time.Second); labelled(t.Name()) > 1; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				var buf bytes.Buffer
				pprof.Lookup("goroutine").WriteTo(&buf, 1)
				t.Errorf("%d goroutines are left behind:\n%s", labelled(t.Name())-1, buf.String())
				return
			}
		}
	})
}

// wanted skips a test where nobody asked for the whole suite.
func wanted(t *testing.T) {
	t.Helper()
	if !asked {
		t.Skip("faults: HOLDOFF_FAULTS is neither short nor full")
	}
}

// fault is what is done to Redis, and what is expected of a fleet then.
type fault struct {
	lasts     time.Duration // at least: 7 s, or 30 s in the full mode, if that is more
	from      string        // a store's log begins with it, once; "" where nothing is to be said
	absent    bool          // the fault is there from the beginning
	steps     int           // transitions, where there are more than one there and one back
	mute      bool          // the store may also be silent
	sharing   time.Duration // holds are shared during the fault as well, within that time
	harm      func()
	during    func() // called again and again while the fault lasts
	heal      func()
	afterHeal func()
}

// run measures a fleet before, while and after Redis is harmed.
func (r *rig) run(f fault) {
	t := r.t
	t.Helper()
	// The hold ends at half of it. The first command then, and two polls, find that Redis is away.
	lasts := max(f.lasts, either(7*time.Second, 30*time.Second))
	time.Sleep(300 * time.Millisecond) // connections are made
	r.measure()
	time.Sleep(either(1500*time.Millisecond, 5*time.Second))
	before := r.measure()
	goroutines := r.goroutines()
	if !f.absent {
		r.tell(r.replicas[0], 5*time.Second)
	}
	told := r.hosts

	until := r.hold(lasts/2 + 500*time.Millisecond)
	quiet := time.Now().Add(slack)
	r.measure()
	if f.harm != nil {
		f.harm()
	}
	harmed := time.Now()
	var shared []time.Duration
	for i := 0; time.Since(harmed) < lasts; i++ {
		if f.during != nil {
			f.during()
		}
		if f.sharing > 0 && i%20 == 10 {
			shared = append(shared, r.tell(r.replicas[i/20%len(r.replicas)], f.sharing))
		}
		time.Sleep(50 * time.Millisecond)
	}
	during := r.measure()
	most := r.goroutines() // out of the windows: counting stops the world

	for i := range told {
		host := fmt.Sprintf("told-%d.example", i+1)
		for _, rep := range r.replicas {
			if !holds(host, false)(rep) {
				t.Errorf("%s has forgotten the hold of %s: %+v", rep.name, host, rep.look(host))
			}
		}
	}
	if early := r.origin.between(held, quiet, until.Add(-slack)); len(early) > 0 {
		r.timing("%d requests were sent while everybody knew of the hold", len(early))
	}
	alone := "no"
	if after := r.origin.between(held, until, time.Now()); len(after) > 0 {
		alone = after[0].at.Sub(until).Round(time.Millisecond).String()
	}

	if f.heal != nil {
		f.heal()
	}
	healed := time.Now()
	converged := r.tell(r.replicas[0], 15*time.Second)
	r.tell(r.replicas[len(r.replicas)-1], 15*time.Second)
	if f.afterHeal != nil {
		f.afterHeal()
	}
	well := r.wait("the held key gets well", 15*time.Second, func() bool {
		hits := r.origin.between(held, healed, time.Now())
		return len(hits) > 0 && hits[len(hits)-1].status == http.StatusOK &&
			r.all(func(rep *replica) bool { return rep.look(held).Phase == holdoff.Healthy })
	})
	time.Sleep(either(500*time.Millisecond, 2*time.Second))
	after := r.measure()
	lines := r.checkLogs(f)
	r.checkHolds()
	for _, rep := range r.replicas {
		if n := rep.early.Load(); n > 0 {
			r.timing("%s sent %d requests before the end of a hint that it had got", rep.name, n)
		}
	}
	r.checkGoroutines(most)
	r.compare(before, during, "during")
	r.compare(before, after, "after")
	t.Logf("MEASURED %s | before p50 %v p99 %v max %v | during p50 %v p99 %v max %v own max %v | n %d | hiccup %v | first send after the hold %v | shared during %v | converged %v | well %v | goroutines %d, most %d | %s",
		t.Name(), us(before.total, 0.5), us(before.total, 0.99), us(before.total, 1), us(during.total, 0.5), us(during.total, 0.99), us(during.total, 1),
		us(during.own, 1), len(during.total), during.hiccup.Round(time.Millisecond), alone, rounded(shared), converged.Round(time.Millisecond),
		well.Round(time.Millisecond), goroutines, most, lines)
}

func us(d []time.Duration, q float64) time.Duration {
	return quantile(d, q).Round(10 * time.Microsecond)
}

func rounded(d []time.Duration) (out []time.Duration) {
	for _, d := range d {
		out = append(out, d.Round(time.Millisecond))
	}
	return out
}

// compare looks whether requests of the healthy key were slower in a window
// than before, or failed.
func (r *rig) compare(before, w *window, when string) {
	r.t.Helper()
	if len(w.failures) > 0 {
		r.t.Errorf("%s: %d requests failed: %v", when, len(w.failures), w.failures[0])
	}
	for _, what := range slower(before, w) {
		r.timing("%s: %s", when, what)
	}
}

// slower tells what was slower in a window than before. One that waits for Redis
// waits for 200 ms and more. What the machine does to everybody is no fault of
// the store's.
func slower(before, w *window) (what []string) {
	if len(w.total) < 20 {
		what = append(what, fmt.Sprintf("only %d requests were made", len(w.total)))
	}
	hiccup := 4 * max(before.hiccup, w.hiccup)
	usual, p99 := quantile(before.own, 0.99), quantile(w.own, 0.99)
	if p99 > max(50*time.Millisecond, 20*usual, hiccup) {
		what = append(what, fmt.Sprintf("p99 of what healthy requests spend in the Transport, apart from its Base, is %v, and was %v before", p99, usual))
	}
	if worst := quantile(w.own, 1); worst > max(200*time.Millisecond, hiccup) {
		what = append(what, fmt.Sprintf("a healthy request spent %v in the Transport, apart from its Base", worst))
	}
	return what
}

// checkLogs looks whether the store has said once what has happened, and not
// more.
func (r *rig) checkLogs(f fault) string {
	t := r.t
	t.Helper()
	steps := max(f.steps, 1)
	allowed := steps
	if time.Duration(r.worst.Load()) > 100*time.Millisecond {
		allowed += 2 // the machine itself was slower than the store waits
	}
	var lines []string
	r.checkTransitions()
	for _, rep := range r.replicas {
		said := make(map[string]int)
		var order []string
		for _, e := range rep.logs.All() {
			if said[e.Message]++; said[e.Message] == 1 {
				order = append(order, e.Message)
			}
		}
		for message, n := range said {
			if n > allowed {
				r.timing("%s has logged %d times: %s", rep.name, n, message)
			}
		}
		if f.from != "" && !f.mute && !slices.ContainsFunc(order, func(m string) bool { return strings.HasPrefix(m, f.from) }) {
			r.timing("%s has not logged %q, but %q", rep.name, f.from, order)
		}
		if f.from == "" && !f.mute && len(order) > 0 && allowed == steps {
			r.timing("%s has logged %q", rep.name, order)
		}
		flips := rep.fails.Load() + rep.backs.Load()
		if flips > int64(2*allowed) {
			r.timing("%s: its Transport has seen the store fail and come back %d times", rep.name, flips)
		}
		var counts []string
		for _, m := range order {
			short, _, _ := strings.Cut(m, ":")
			counts = append(counts, fmt.Sprintf("%s %d", short, said[m]))
		}
		lines = append(lines, strings.Join(counts, ", ")+fmt.Sprintf("; flips %d", flips))
	}
	slices.Sort(lines)
	return "logs of each: " + strings.Join(slices.Compact(lines), " / ")
}

// checkTransitions looks whether every line is a transition, however many there
// were: who is away can't go away.
func (r *rig) checkTransitions() {
	r.t.Helper()
	for _, rep := range r.replicas {
		said := make(map[string]bool) // and not taken back
		for _, e := range rep.logs.All() {
			what, _, _ := strings.Cut(e.Message, ":")
			opposite, known := opposites[what]
			if !known {
				continue
			}
			if end := what == isBack || what == obliges; said[what] || end && !said[opposite] {
				r.t.Errorf("%s has logged %q, which was so already", rep.name, what)
			}
			said[opposite], said[what] = false, true
		}
		// Workers may tell of a change at the same time, but not of one that was told.
		if fails, backs := rep.fails.Load(), rep.backs.Load(); fails-backs > 1 || backs > fails {
			r.t.Errorf("%s: its Transport has seen the store fail %d times, and come back %d times", rep.name, fails, backs)
		}
	}
}

// checkHolds looks whether anything is held for longer than a hold may be,
// whoever said so.
func (r *rig) checkHolds() {
	r.t.Helper()
	const maxHold, poll = 5 * time.Minute, time.Second
	for _, rep := range r.replicas {
		for k := range rep.tr.Keys() {
			if left := time.Until(k.Until); left > maxHold+poll {
				r.t.Errorf("%s holds %s for %v", rep.name, k.Key, left)
			}
		}
	}
}

// memory returns the bytes in use, garbage apart.
func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
