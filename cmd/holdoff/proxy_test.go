package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// sidecar is a proxy as a process of its own.
type sidecar struct {
	front, admin string
	cmd          *exec.Cmd
	log          *output
	ended        chan error
}

func startSidecar(t *testing.T, args ...string) *sidecar {
	t.Helper()
	cmd := program(t, append([]string{"proxy", "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, args...)...)
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &sidecar{cmd: cmd, log: &output{}, ended: make(chan error, 1)}
	lines := bufio.NewReader(errs)
	line, _ := lines.ReadString('\n')
	go func() {
		io.Copy(s.log, lines)
		s.ended <- cmd.Wait()
	}()
	t.Cleanup(func() { cmd.Process.Kill() })
	var first struct{ Msg, Listen, Admin string }
	if err := json.Unmarshal([]byte(line), &first); err != nil || first.Msg != "proxy serves" {
		t.Fatalf("proxy %q did not start: %s%s", args, line, s.log)
	}
	s.front, s.admin = "http://"+first.Listen, "http://"+first.Admin
	return s
}

func (s *sidecar) stop(t *testing.T) {
	t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("it ended with %v:\n%s", err, s.log)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("it does not end:\n%s", s.log)
	}
}

// call is a request of a service: like any HTTP client in any language.
func call(t *testing.T, method, target, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// api refuses while it is told to, and notes what it was asked.
type api struct {
	mu      sync.Mutex
	refuses bool
	asked   []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.Method+" "+r.Host+" "+r.URL.String()+" "+string(body))
	if a.refuses {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

func (a *api) refuse(refuses bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuses = refuses
}

func (a *api) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

// clients are HTTP clients of other languages, which print the status of a URL and its
// Retry-After.
var clients = []struct {
	name string
	args []string
}{
	{"python3", []string{"-c", `
import sys, urllib.request, urllib.error
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    r = opener.open(sys.argv[1])
except urllib.error.HTTPError as e:
    r = e
print(r.status, r.headers.get("Retry-After"))`}},
	{"node", []string{"-e", `fetch(process.argv[1]).then(r => console.log(r.status, r.headers.get("retry-after")))`}},
}

// Two sidecars and a Redis: one is told, and the services of the other obey, in whatever
// language they are. An operator releases them.
func TestProxy_WhatOneSidecarIsToldTheOtherObeys(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	api := &api{}
	server := httptest.NewServer(api)
	defer server.Close()
	config := filepath.Join(t.TempDir(), "proxy.yaml")
	text := fmt.Sprintf("upstreams:\n- name: billing\n  url: %s/v1\n  oneLimit: true\n  maxWait: 1s\n", server.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-config", config, "-redis-url", at(srv), "-namespace", "sidecars"}
	told, obeys := startSidecar(t, args...), startSidecar(t, args...)
	for _, s := range []*sidecar{told, obeys} {
		if resp, _ := call(t, "GET", s.front+"/billing/invoices?page=2", ""); resp.StatusCode != 200 {
			t.Fatalf("got %d before any refusal", resp.StatusCode)
		}
	}
	if want := "GET " + strings.TrimPrefix(server.URL, "http://") + " /v1/invoices?page=2 "; api.requests()[0] != want {
		t.Errorf("the API was asked %q, want %q", api.requests()[0], want)
	}
	eventually(t, "both listen", func() bool {
		return srv.Client().PubSubNumSub(t.Context(), "holdoff:{sidecars}:v3:changes").Val()["holdoff:{sidecars}:v3:changes"] == 2
	})

	api.refuse(true)
	resp, _ := call(t, "GET", told.front+"/billing/invoices", "")
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "60" {
		t.Errorf("got %d, Retry-After %q; want the API's own 429 and 60", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	asked := len(api.requests())
	held := func() bool {
		out := must(t, "ls", "-namespace", "sidecars", "-redis-url", at(srv))
		return strings.Contains(out, server.URL+" is held for")
	}
	eventually(t, "Redis has the hold", held)
	eventually(t, "the other sidecar holds", func() bool {
		_, page := call(t, "GET", obeys.admin+"/status/billing/state", "")
		return strings.Contains(page, `"phase":"held"`)
	})
	resp, text = call(t, "GET", obeys.front+"/billing/invoices", "")
	after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode != 503 || err != nil || after < 1 || after > 60 || !strings.Contains(text, "is held for") {
		t.Errorf("got %d, Retry-After %q, %q; want 503 with what is left", resp.StatusCode, resp.Header.Get("Retry-After"), text)
	}
	for _, client := range clients {
		path, err := exec.LookPath(client.name)
		if err != nil {
			t.Logf("there is no %s on this machine: it is not tried", client.name)
			continue
		}
		out, err := exec.CommandContext(t.Context(), path, append(client.args, obeys.front+"/billing/invoices")...).CombinedOutput()
		status, after, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		if n, numErr := strconv.Atoi(after); err != nil || status != "503" || numErr != nil || n < 1 || n > 60 {
			t.Errorf("%s: got %q, %v; want 503 and its Retry-After", client.name, out, err)
		}
	}
	if n := len(api.requests()); n != asked {
		t.Errorf("the API was asked %d times while it was held", n-asked)
	}

	_, metrics := call(t, "GET", obeys.admin+"/metrics", "")
	if want := `upstream="billing"`; !strings.Contains(metrics, "holdoff_keys{") || !strings.Contains(metrics, want) {
		t.Errorf("the metrics have no holdoff_keys of the upstream:\n%.2000s", metrics)
	}
	api.refuse(false)
	must(t, "clear", server.URL, "-namespace", "sidecars", "-redis-url", at(srv))
	for _, s := range []*sidecar{told, obeys} {
		if resp, _ := call(t, "GET", s.front+"/billing/invoices", ""); resp.StatusCode != 200 {
			t.Errorf("got %d after the operator's clear, want 200", resp.StatusCode)
		}
		s.stop(t)
	}
	if !strings.Contains(obeys.log.String(), `"upstream":"billing"`) {
		t.Errorf("the log names no upstream:\n%s", obeys.log)
	}
}

// A proxy that is told to end lets what is under way end, and takes nothing new.
func TestProxy_DrainsBeforeItEnds(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan bool, 1), make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-release
		io.WriteString(w, "done")
	}))
	defer server.Close()
	s := startSidecar(t, "-upstream", server.URL, "-drain-delay", "300ms")
	if resp, _ := call(t, "GET", s.admin+"/readyz", ""); resp.StatusCode != 200 {
		t.Errorf("readyz says %d", resp.StatusCode)
	}
	result := make(chan string, 1)
	go func() {
		resp, err := http.Get(s.front + "/slow")
		if err != nil {
			result <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		result <- fmt.Sprint(string(text), err)
	}()
	<-arrived
	s.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "readyz says no", func() bool {
		resp, _ := call(t, "GET", s.admin+"/readyz", "")
		return resp.StatusCode == 503
	})
	if resp, _ := call(t, "GET", s.admin+"/healthz", ""); resp.StatusCode != 200 {
		t.Errorf("healthz says %d while it drains", resp.StatusCode)
	}
	eventually(t, "it takes nothing new", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.front, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(release)
	if got := <-result; got != "done<nil>" {
		t.Errorf("the request under way got %q", got)
	}
	s.stop(t)
}

// front returns a proxy in this process.
func front(t *testing.T, upstreams ...*upstream) string {
	t.Helper()
	if err := check(upstreams); err != nil {
		t.Fatal(err)
	}
	p := newProxy(upstreams, nil, slog.New(slog.DiscardHandler), nil)
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return server.URL
}

func TestProxy_BodyAboveTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	api := &api{}
	server := httptest.NewServer(api)
	defer server.Close()
	url := front(t, &upstream{Name: "api", URL: server.URL, Path: "/", MaxBody: 10})
	for _, body := range []io.Reader{strings.NewReader("0123456789x"), io.MultiReader(strings.NewReader("0123456789x"))} { // with its length, and without
		req, err := http.NewRequestWithContext(t.Context(), "POST", url, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("got %d, want 413", resp.StatusCode)
		}
	}
	if resp, _ := call(t, "POST", url, "0123456789"); resp.StatusCode != 200 {
		t.Errorf("got %d for a body at the limit", resp.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestProxy_PathsChooseTheUpstream(t *testing.T) {
	t.Parallel()
	a, b := &api{}, &api{}
	serverA, serverB := httptest.NewServer(a), httptest.NewServer(b)
	defer serverA.Close()
	defer serverB.Close()
	url := front(t, &upstream{Name: "a", URL: serverA.URL, Path: "/"}, &upstream{Name: "b", URL: serverB.URL + "/base/"})
	for _, path := range []string{"/x//y/%2F?q=%20", "/b/x%2Fy?q", "/b/", "/bb"} {
		call(t, "GET", url+path, "")
	}
	wants := func(api *api, want ...string) {
		t.Helper()
		var got []string
		for _, line := range api.requests() {
			got = append(got, strings.Fields(line)[2])
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	wants(a, "/x//y/%2F?q=%20", "/bb")
	wants(b, "/base/x%2Fy?q", "/base/")
	if resp, _ := call(t, "GET", front(t, &upstream{Name: "b", URL: serverB.URL})+"/x", ""); resp.StatusCode != 404 {
		t.Errorf("got %d for a path of no upstream", resp.StatusCode)
	}
}

func TestRefuse_ShowsNothingOfTheNetwork(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	refuse(w, httptest.NewRequest("GET", "/", nil), &net.OpError{Op: "dial", Err: errors.New("secret-host refused")}, slog.New(slog.DiscardHandler))
	if w.Code != http.StatusBadGateway || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("got %d, %q", w.Code, w.Body)
	}
}

func TestUpstream_RulesOfKeysAndRoutes(t *testing.T) {
	t.Parallel()
	u := &upstream{Name: "api", URL: "https://api.example.com", KeyHeader: "X-Tenant", Routes: []string{"GET /v1/users/{id}/posts", "/v1/search"}, Vendor: "github"}
	if err := check([]*upstream{u}); err != nil {
		t.Fatal(err)
	}
	tr := u.transport(&holdoff.MemoryStore{})
	for _, tt := range []struct{ method, path, route string }{
		{"GET", "/v1/users/anna/posts", "GET:/v1/users/{id}/posts"}, {"POST", "/v1/search", "/v1/search"}, {"GET", "/v1/users/12", "/v1/users/*"},
	} {
		if got := tr.Route(httptest.NewRequest(tt.method, "https://api.example.com"+tt.path, nil)); got != tt.route {
			t.Errorf("%s %s has the route %q, want %q", tt.method, tt.path, got, tt.route)
		}
	}
	req := httptest.NewRequest("GET", "https://api.example.com/v1", nil)
	if got := tr.Key(req); got != "" {
		t.Errorf("got the key %q without the field, want the usual one", got)
	}
	req.Header.Set("X-Tenant", "a b/c")
	if got := tr.Key(req); got != "https://api.example.com/a%20b%2Fc" {
		t.Errorf("got the key %q", got)
	}
}

func TestConfig_WhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                               "there is no upstream",
		"upstreams:\n- name: a\n":        "url must be",
		"upstreams:\n- url: https://h\n": "its name must be",
		"upstreams:\n-\n":                "its name must be",
		"upstreams:\n- {name: a/b, url: 'https://h'}":                               "its name must be",
		"upstreams:\n- {name: a, url: 'ftp://h'}":                                   "url must be",
		"upstreams:\n- {name: a, url: 'https://u:secret@h'}":                        "no user",
		"upstreams:\n- {name: a, url: 'https://h', path: x}":                        "path is",
		"upstreams:\n- {name: a, url: 'https://h', vendor: x}":                      "vendor is",
		"upstreams:\n- {name: a, url: 'https://h', maxBody: -1}":                    "maxBody is negative",
		"upstreams:\n- {name: a, url: 'https://h', maxHold: -1s}":                   "maxHold is negative",
		"upstreams:\n- {name: a, url: 'https://h', maxwait: 1s}":                    "maxwait",
		"upstreams:\n- {name: a, url: 'https://h', maxWait: soon}":                  "soon",
		"upstreams:\n- {name: a, url: 'https://h', routes: ['GET  {']}":             "routes:",
		"upstreams:\n- {name: a, url: 'https://h', oneLimit: true, routes: ['/a']}": "exclude",
		"upstreams:\n- {name: a, url: 'https://h'}\n- {name: a, url: 'https://h'}":  "that of another",
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		status, _, stderr := do(t, "proxy", "-config", file)
		if status != exitUsage || !strings.Contains(stderr, want) || strings.Contains(stderr, "secret") {
			t.Errorf("%q: exit status %d, %q; want %q", text, status, stderr, want)
		}
	}
}

// The file that goes with the command is one that it takes.
func TestConfig_ExampleIsValid(t *testing.T) {
	t.Parallel()
	upstreams, err := readUpstreams("deploy/proxy.yaml")
	if err == nil {
		err = check(upstreams)
	}
	if err != nil || len(upstreams) != 2 || upstreams[0].MaxWait != 20*time.Second || upstreams[1].Path != "/gh/" {
		t.Errorf("got %+v, %v", upstreams, err)
	}
}

func TestConfig_FlagsNameUpstreams(t *testing.T) {
	t.Parallel()
	var list upstreamList
	for _, text := range []string{"https://h/v1?a=b", "billing=https://b/v1, search=http://s"} {
		if err := list.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := check(list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range list {
		got = append(got, u.Name+" "+u.Path+" "+u.target.String())
	}
	if want := []string{"api / https://h/v1?a=b", "billing /billing/ https://b/v1", "search /search/ http://s"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
