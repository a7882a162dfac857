package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// TestMain makes the test binary be the program where a test starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("SIDECAR_TEST_RUN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// sidecar is the program as a process of its own.
type sidecar struct {
	url string
	cmd *exec.Cmd
}

func start(t *testing.T, args ...string) *sidecar {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"-listen", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), "SIDECAR_TEST_RUN=1", "NO_PROXY=127.0.0.1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("sidecar %v did not start: %v", args, err)
	}
	address, _, _ := strings.Cut(line, " ")
	return &sidecar{address, cmd}
}

// stop ends it as a supervisor would.
func (s *sidecar) stop(t *testing.T) {
	t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("sidecar ended with %v", err)
	}
}

// call is a request of the service: like any HTTP client in any language.
func call(t *testing.T, method, target, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer of the service")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// api notes when it was asked, and refuses the first request for hint.
type api struct {
	hint time.Duration

	mu    sync.Mutex
	asked []time.Time
	hosts []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, time.Now())
	a.hosts = append(a.hosts, r.Host)
	if time.Since(a.asked[0]) < a.hint {
		w.Header().Set("Retry-After", strconv.Itoa(int(a.hint.Seconds())))
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

func (a *api) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// Two sidecars, each a process: what both were told holds both, and ends for both with one
// request.
func TestTwoSidecarsShareAHold(t *testing.T) {
	server := redistest.Start(t)
	api := &api{hint: 3 * time.Second}
	upstream := httptest.NewServer(api)
	defer upstream.Close()
	args := []string{"-upstream", upstream.URL, "-redis", server.Addr, "-namespace", "sidecars"}
	hasty := start(t, append(args, "-max-wait", "1s")...)
	patient := start(t, append(args, "-max-wait", "30s")...)
	eventually(t, "both listen to changes", func() bool {
		n := server.Client().PubSubNumSub(t.Context(), "holdoff:{sidecars}:v3:changes").Val()
		return n["holdoff:{sidecars}:v3:changes"] == 2
	})

	if got := call(t, "GET", hasty.url+"/a", ""); got.StatusCode != 429 || got.Header.Get("Retry-After") != "3" {
		t.Errorf("got %d, Retry-After %q; want the API's own 429 and 3", got.StatusCode, got.Header.Get("Retry-After"))
	}
	// The other process is told as well: it may be a limit of one address. It waits until it
	// may ask again.
	waited := make(chan int)
	go func() { waited <- call(t, "GET", patient.url+"/a", "").StatusCode }()
	eventually(t, "Redis knows that it is one limit", func() bool {
		return server.Client().ZCard(t.Context(), "holdoff:{sidecars}:v3:index").Val() >= 2
	})
	time.Sleep(200 * time.Millisecond) // for the message to arrive
	got := call(t, "GET", hasty.url+"/a", "")
	if after, err := strconv.Atoi(got.Header.Get("Retry-After")); got.StatusCode != 503 || err != nil || after < 1 || after > 3 {
		t.Errorf("got %d, Retry-After %q; want a 503 of the sidecar's with 1 to 3", got.StatusCode, got.Header.Get("Retry-After"))
	}
	if n := api.count(); n != 2 {
		t.Errorf("the API was asked %d times, want 2", n)
	}
	if status := <-waited; status != 200 {
		t.Errorf("got %d, want 200", status)
	}
	if n := api.count(); n != 3 {
		t.Fatalf("the API was asked %d times, want 3", n)
	}
	if gap := api.asked[2].Sub(api.asked[0]); gap < api.hint {
		t.Errorf("the API was asked again after %v, want %v at least", gap, api.hint)
	}
	if want := strings.TrimPrefix(upstream.URL, "http://"); api.hosts[0] != want {
		t.Errorf("the API was asked as %q, want %q", api.hosts[0], want)
	}
	hasty.stop(t)
	patient.stop(t)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 20 s it has not become true that %s", what)
		}
	}
}

// What a service sends arrives as it was, also when it is sent again.
func TestRetriesThroughASidecar(t *testing.T) {
	var bodies []string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+" "+string(body))
		if len(bodies) == 1 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer upstream.Close()
	target, err := url.Parse(upstream.URL + "/v1")
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(proxy(target, &holdoff.Transport{}))
	defer front.Close()

	if got := call(t, "PUT", front.URL+"/invoices?page=2", "paid"); got.StatusCode != 200 {
		t.Errorf("got %d, want 200", got.StatusCode)
	}
	const want = "PUT /v1/invoices?page=2 Bearer of the service paid"
	if len(bodies) != 2 || bodies[0] != want || bodies[1] != want {
		t.Errorf("the API got %q, want %q twice", bodies, want)
	}
	if got := call(t, "POST", front.URL+"/invoices?page=2", "paid"); got.StatusCode != 200 || len(bodies) != 3 {
		t.Errorf("got %d after %d sends, want 200 after 3", got.StatusCode, len(bodies))
	}
}

// A service that hangs up does not stay in line.
func TestServiceHangsUp(t *testing.T) {
	upstream := httptest.NewServer(&api{hint: 30 * time.Second})
	defer upstream.Close()
	target, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &holdoff.Transport{}
	front := httptest.NewServer(proxy(target, transport))
	defer front.Close()
	waiters := func() (n int) {
		for state := range transport.Keys() {
			n += state.Waiters
		}
		return n
	}

	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, front.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	eventually(t, "the request waits", func() bool { return waiters() == 1 })
	hangUp()
	eventually(t, "nobody waits", func() bool { return waiters() == 0 })
}

func TestRefuse(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		ctx   context.Context
		err   error
		code  int
		after string
	}{
		{t.Context(), fmt.Errorf("wrapped: %w", &holdoff.HeldError{Key: "k", Until: time.Now().Add(90 * time.Second)}), 503, "90"},
		{t.Context(), &holdoff.HeldError{Key: "k", Until: time.Now().Add(-time.Second)}, 503, "1"},
		{t.Context(), &net.OpError{Op: "dial", Err: errors.New("secret-host refused")}, 502, ""},
		{gone, context.Canceled, 502, ""},
	} {
		w := httptest.NewRecorder()
		refuse(w, httptest.NewRequestWithContext(tt.ctx, "GET", "/", nil), tt.err)
		if w.Code != tt.code || w.Header().Get("Retry-After") != tt.after {
			t.Errorf("%v: got %d, Retry-After %q; want %d, %q", tt.err, w.Code, w.Header().Get("Retry-After"), tt.code, tt.after)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: the body tells of it: %s", tt.err, w.Body)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{nil, {"-upstream", "example.com"}, {"-upstream", "ftp://h"}, {"-z"}} {
		if _, err := parse(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%v: got no error", args)
		}
	}
	o, err := parse([]string{"-upstream", "https://h/v1", "-max-wait", "5s"}, io.Discard)
	if err != nil || o.upstream.Host != "h" || o.maxWait != 5*time.Second || o.listen != "127.0.0.1:8080" {
		t.Errorf("got %+v, %v", o, err)
	}
}
