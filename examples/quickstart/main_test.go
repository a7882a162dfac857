package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"
)

// TestMain makes the test binary be the program where a test starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("QUICKSTART_TEST_RUN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// quickstart runs the program as a user would.
func quickstart(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "QUICKSTART_TEST_RUN=1", "NO_PROXY=127.0.0.1")
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func wantAll(t *testing.T, output string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)` + p).MatchString(output) {
			t.Errorf("the output has no %q", p)
		}
	}
	if t.Failed() {
		t.Logf("the output was:\n%s", output)
	}
}

func TestBuiltInServer(t *testing.T) {
	t.Parallel()
	out, errs, status := quickstart(t)
	if status != 0 || errs != "" {
		t.Errorf("got exit status %d and %q on stderr, want 0 and nothing", status, errs)
	}
	wantAll(t, out,
		`Requests: 16, callers: 4`,
		`all +HOLD STARTED by 429 Too Many Requests: no request is sent for 2s$`,
		`caller \d, request \d+ +waits with attempt 0: the host is held for `,
		`all +hold ran out: one request probes$`,
		`all +HOLD EXTENDED by 429 Too Many Requests`,
		`all +probe is good`,
		`all +HOLD ENDED`,
		`attempt \d: 503 Service Unavailable$`,
		`waits .* before attempt 1: server error$`,
		`attempt \d: no response \(connection broken: unexpected EOF\)$`,
		`^Requests: 16\. Sends: \d+, of which refused`,
		`^All callers were served\.$`,
	)
	if strings.Contains(out, "gives up") {
		t.Errorf("a request was given up:\n%s", out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) > 60 {
		t.Errorf("got %d lines, which is more than a screen", len(lines))
	}
	for _, line := range lines {
		if utf8.RuneCountInString(line) > 100 {
			t.Errorf("line of more than 100 columns: %s", line)
		}
	}
}

func TestServerOfTheUsersOwn(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if hits.Add(1) == 2 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer server.Close()
	out, _, status := quickstart(t, "-url", server.URL+"/path", "-n", "3", "-c", "2")
	if status != 0 {
		t.Errorf("got exit status %d, want 0", status)
	}
	if got := hits.Load(); got != 4 {
		t.Errorf("the server got %d requests, want 4", got)
	}
	wantAll(t, out, `attempt 0: 502 Bad Gateway$`, `^All callers were served\.$`)
}

func TestNotServed(t *testing.T) {
	t.Parallel()
	const nobody = "http://127.0.0.1:1" // tcpmux, which nobody runs
	missing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(missing.Close)
	held := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(held.Close)

	for _, test := range []struct {
		name, url string
		want      []string
	}{
		{"nobody listens", nobody, []string{`attempt 3: no response \(dial: `, `gives up: it has been sent as often`}},
		{"404 is not retried", missing.URL, []string{`Sends: 2,`, `The first that was not: 404 Not Found`}},
		{"a hold longer than the request's time", held.URL, []string{`Sends: 1,`, `gives up: the wait would be longer`, `gives up: the host is held for longer`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out, _, status := quickstart(t, "-url", test.url, "-n", "2", "-c", "1")
			if status != 1 {
				t.Errorf("got exit status %d, want 1", status)
			}
			wantAll(t, out, append(test.want, `^Served: 0 of 2\.$`)...)
		})
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"-n 0", "-n is 0; it must be 1 to 10000"},
		{"-n 10001", "-n is 10001; it must be 1 to 10000"},
		{"-n many", "flag -n"},
		{"-c 0", "-c is 0; it must be 1 to 100"},
		{"-c 101", "-c is 101; it must be 1 to 100"},
		{"-url example.com", `-url is "example.com"; it must be an http:// or https:// URL`},
		{"-url ftp://example.com", "-url is"},
		{"-url http://", "-url is"},
		{"http://example.com", "a URL is given as -url URL"},
		{"-z", "-z"},
	} {
		out, errs, status := quickstart(t, strings.Fields(test.args)...)
		if status != 2 {
			t.Errorf("%s: got exit status %d, want 2", test.args, status)
		}
		if out != "" || strings.Count(errs, test.want) != 1 {
			t.Errorf("%s: got %q on stdout and %q on stderr, want %q once on stderr", test.args, out, errs, test.want)
		}
	}
	if _, errs, status := quickstart(t, "-h"); status != 0 || !strings.Contains(errs, "-url") {
		t.Errorf("-h: got exit status %d and %q, want 0 and the flags", status, errs)
	}
}
