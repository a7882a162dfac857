package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

// TestMain makes the test binary be the program where a test starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("FLEET_TEST_RUN") != "" {
		main()
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd = exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "FLEET_TEST_RUN=1")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// fleet runs the program as a user would.
func fleet(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd, out, errs := command(t, args...)
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// table runs the program to its end, and returns its output.
func table(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, status := fleet(t, args...)
	if status != 0 || errs != "" {
		t.Fatalf("got exit status %d and %q on stderr, want 0 and nothing; the output was:\n%s", status, errs, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the output was:\n%s", out)
		}
	})
	return out
}

// row returns the figures of a row of the table.
func row(t *testing.T, out, name string) (alone, shared float64) {
	t.Helper()
	m := regexp.MustCompile(`(?m)^ *` + regexp.QuoteMeta(name) + ` +([\d.]+) +([\d.]+)$`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("the output has no row %q", name)
	}
	alone, _ = strconv.ParseFloat(m[1], 64)
	shared, _ = strconv.ParseFloat(m[2], 64)
	return alone, shared
}

const (
	refused    = "refused (429, 503 or 500)"
	perRequest = "per request"
	heldAtMost = "Replicas held at most"
)

// wantThrottled checks what the example promises of 16 replicas and a server
// that throttles. The time that anything takes is not among it.
func wantThrottled(t *testing.T, out string, callers float64) {
	t.Helper()
	alone, shared := row(t, out, refused)
	if shared > 30 || alone <= shared {
		t.Errorf("got %v refused sends alone and %v shared, want more alone, and at most 30 shared", alone, shared)
	}
	if _, n := row(t, out, "Callers"); n < callers {
		t.Errorf("got %v callers, want %v", n, callers)
	}
	if _, n := row(t, out, "failed"); n != 0 {
		t.Errorf("got %v failed callers with sharing, want 0", n)
	}
	if _, n := row(t, out, heldAtMost); n != 16 {
		t.Errorf("got %v replicas held with sharing, want 16", n)
	}
	wantRamp(t, out)
}

// wantRamp checks that replicas that share came back like one: a probe, and then
// at most 2, 4, 8 … sends per 100 ms in all.
func wantRamp(t *testing.T, out string) {
	t.Helper()
	m := regexp.MustCompile(`(?m)^  shared ([\d ]+)$`).FindStringSubmatch(out)
	if m == nil {
		t.Fatal("the output doesn't show the ramp")
	}
	sum, bound := 0, 1
	for i, field := range strings.Fields(m[1]) {
		n, _ := strconv.Atoi(field)
		sum += n
		if bound += 2 << i; sum > bound {
			t.Errorf("got %d sends by the end of 100 ms number %d, want at most %d", sum, i+1, bound)
		}
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	wantThrottled(t, table(t, "-rate", "10"), 16*10*15)
}

func TestThrottleRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	out := table(t, "-rate", "10", "-redis", server.Addr)
	wantThrottled(t, out, 16*10*15)
	if !strings.Contains(out, "Commands that the shared run sent to Redis: ") {
		t.Error("the output does not tell of commands")
	}
	if keys := server.Client().Keys(t.Context(), "*").Val(); len(keys) > 0 {
		t.Errorf("got keys %q in Redis, want none left behind", keys)
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	out := table(t, "-rate", "10", "-fault", "outage")
	if alone, shared := row(t, out, refused); shared > 100 || alone <= shared {
		t.Errorf("got %v refused sends alone and %v shared, want more alone, and at most 100 shared", alone, shared)
	}
	wantRamp(t, out)
}

func TestBrokenPath(t *testing.T) {
	t.Parallel()
	out := table(t, "-rate", "10", "-fault", "broken")
	// At this rate the budgets hardly run short, and all four attempts are made:
	// 1.15 on average, and chance does the rest.
	if _, n := row(t, out, perRequest); n > 1.25 {
		t.Errorf("got %v sends per request, want at most 1.25", n)
	}
	if alone, shared := row(t, out, heldAtMost); alone+shared != 0 {
		t.Errorf("got %v and %v replicas held, want none", alone, shared)
	}
}

// TestNoOrphans: the processes hold the standard error that they were started
// with. Only when all are gone does Wait find its end.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cmd, _, _ := command(t, "-replicas", "4", "-redis", server.Addr)
	cmd.WaitDelay = 30 * time.Second
	cmd.Stdout = nil
	progress, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Its first words come before the replicas, the columns when all are ready.
	for seen, buf := "", make([]byte, 1024); !strings.Contains(seen, "replicas held"); {
		n, err := progress.Read(buf)
		if err != nil {
			t.Fatalf("it ended early: %v", err)
		}
		seen += string(buf[:n])
	}
	cmd.Process.Kill()
	if err := cmd.Wait(); errors.Is(err, exec.ErrWaitDelay) {
		t.Error("replicas outlive the program that started them")
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"-replicas 0", "-replicas is 0; it must be 1 to 128"},
		{"-replicas 129", "-replicas is 129; it must be 1 to 128"},
		{"-replicas many", "flag -replicas"},
		{"-rate 0", "-rate is 0; it must be 1 to 100"},
		{"-rate 101", "-rate is 101; it must be 1 to 100"},
		{"-fault flood", `-fault is "flood"; it must be throttle, outage, broken or none`},
		{"-redis localhost", `-redis is "localhost"; it must be host:port`},
		{"-redis=", `-redis is ""; it must be host:port`},
		{"-redis 127.0.0.1:1", `-redis is "127.0.0.1:1", which does not answer as a Redis does: `}, // tcpmux, which nobody runs
		{"throttle", `unexpected argument "throttle"`},
		{"-z", "-z"},
	} {
		out, errs, status := fleet(t, strings.Fields(test.args)...)
		if status != 2 {
			t.Errorf("%s: got exit status %d, want 2", test.args, status)
		}
		if out != "" || strings.Count(errs, test.want) != 1 {
			t.Errorf("%s: got %q on stdout and %q on stderr, want %q once on stderr", test.args, out, errs, test.want)
		}
	}
	if _, errs, status := fleet(t, "-h"); status != 0 || !strings.Contains(errs, "-fault") {
		t.Errorf("-h: got exit status %d and %q, want 0 and the flags", status, errs)
	}
}
