package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// TestMain makes the test binary be the program where a test starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("HOLDOFF_TEST_RUN") != "" {
		os.Unsetenv("HOLDOFF_TEST_RUN")
		main()
		return
	}
	redis.SetLogger(silent{})
	// Settings of whoever runs the tests are none of the commands'.
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "HOLDOFF_") && name != "HOLDOFF_REDIS" {
			os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/maintnotifications.(*CircuitBreakerManager).cleanupLoop"))
}

// program starts the program as a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "HOLDOFF_TEST_RUN=1", "NO_PROXY=127.0.0.1")
	return cmd
}

// output is a buffer that may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// do runs a command, not on a terminal, and returns its exit status and what it wrote.
func do(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err output
	status = run(t.Context(), &env{in: strings.NewReader(""), out: &out, err: &err}, args)
	return status, out.String(), err.String()
}

// must runs a command that has to succeed, and returns what it wrote.
func must(t *testing.T, args ...string) string {
	t.Helper()
	status, stdout, stderr := do(t, args...)
	if status != exitOK || stderr != "" {
		t.Fatalf("holdoff %s: exit status %d, %s%s", strings.Join(args, " "), status, stdout, stderr)
	}
	return stdout
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 20 s it has not become true that %s", what)
		}
	}
}

// fleet returns a replica's store.
func fleet(t *testing.T, client holdoff.RedisClient, namespace string) *holdoff.RedisStore {
	t.Helper()
	s, err := holdoff.NewRedisStore(client, holdoff.RedisOptions{Namespace: namespace, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// refused reports a hint for a record.
func refused(t *testing.T, s *holdoff.RedisStore, record string, d time.Duration) {
	t.Helper()
	eventually(t, "a replica reports", func() bool { // which learns first of what was cleared
		_, err := s.Report(context.Background(), record, refusal(d))
		return err == nil
	})
}

// refusal is what a replica reports that was told to wait.
func refusal(d time.Duration) holdoff.Report {
	return holdoff.Report{Replica: rand.Text(), Call: 1, Hint: d, ServerDirected: true, Status: 429}
}

func at(srv *redistest.Server) string { return "redis://" + srv.Addr }

// decode reads JSON that a command wrote, which has no other fields than v.
func decode(t *testing.T, text string, v any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
}

// as returns a client of a user with those rules.
func as(t *testing.T, srv *redistest.Server, name string, rules ...any) *redis.Client {
	t.Helper()
	args := append([]any{"ACL", "SETUSER", name, "reset", "on", ">" + password}, rules...)
	if err := srv.Client().Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: srv.Addr, Username: name, Password: password})
	t.Cleanup(func() { client.Close() })
	return client
}

const password = "hunter2-9f8e"

func TestRun_WithoutACommandSaysWhichThereAre(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"help"}, {"-h"}, {"--help"}, {"lss"}} {
		status, stdout, stderr := do(t, args...)
		for _, c := range commands {
			if !strings.Contains(stdout+stderr, "holdoff "+c.name) {
				t.Errorf("%q does not mention %s", args, c.name)
			}
		}
		if wrong := len(args) == 0 || args[0] == "lss"; wrong != (status == exitUsage) {
			t.Errorf("%q: exit status %d", args, status)
		}
	}
}

func TestRun_WrongArgumentsAreUsageErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"ls", "x"}, {"ls", "-nonsense"}, {"ls", "-timeout", "0s"}, {"ls", "-timeout", "-1s"}, {"ls", "-namespace", "a b"},
		{"ls", "-redis-url", "http://h"}, {"ls", "-redis-url", "redis://h/x"}, {"ls", "-redis-url", "redis://h?nonsense=1"},
		{"ls", "-redis-url", "redis://h?master_name=m", "-redis-cluster"},
		{"watch", "x"}, {"watch", "-interval", "1ms"}, {"doctor", "x"}, {"clear"}, {"clear", "k", "-all"},
	} {
		if status, _, stderr := do(t, args...); status != exitUsage || stderr == "" {
			t.Errorf("%q: exit status %d, %q", args, status, stderr)
		}
	}
}

func TestParse_FlagsBehindArgumentsAndVariables(t *testing.T) {
	srv := redistest.Start(t)
	s := fleet(t, srv.Client(), "billing")
	refused(t, s, "https://api.example.com", time.Minute)
	t.Setenv("HOLDOFF_REDIS_URL", at(srv))
	t.Setenv("HOLDOFF_NAMESPACE", "billing")
	if out := must(t, "ls"); !strings.Contains(out, "https://api.example.com is held") {
		t.Errorf("got %q, want the hold of the namespace that the environment names", out)
	}
	if out := must(t, "ls", "-namespace", "other"); strings.Contains(out, "https://api.example.com") {
		t.Errorf("got %q, want the flag to win over the environment", out)
	}
	if out := must(t, "clear", "https://api.example.com", "-json"); !strings.HasPrefix(out, "{") {
		t.Errorf("got %q, want the flag behind the key to count", out)
	}
}

// No password is in anything that a command writes, whatever is wrong.
func TestRun_PasswordIsInNoOutput(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--requirepass", password+"0")
	file := t.TempDir() + "/password"
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{
		{"-redis-url", "redis://u:" + password + "@" + srv.Addr},
		{"-redis-url", "redis://u:" + password + "@127.0.0.1:1"},
		{"-redis-url", "redis://u:" + password + "%zz@h"},
		{"-redis-url", "redis://u:" + password},
		{"-redis-url", "redis://u:" + password + "/x@h"},
		{"-redis-url", "redis://:" + password + "@h/x?y=" + password},
		{"-redis-url", "redis://h?master_name=m&password=" + password + "&" + password + "=1"},
		{"-redis-url", "rediss://u:" + password + "@" + srv.Addr},
		{"-redis-url", "redis://u:" + password + "@" + srv.Addr, "-redis-cluster"},
		{"-redis-url", at(srv), "-redis-password", password},
		{"-redis-url", at(srv), "-redis-password-file", file},
		{"-redis-url", at(srv), "-redis-user", "u", "-redis-password", password},
	} {
		for _, command := range [][]string{{"ls"}, {"ls", "-all"}, {"ls", "-json"}, {"doctor"}, {"doctor", "-json"}, {"clear", "k"}, {"ls", "-h"}} {
			status, stdout, stderr := do(t, append(append(command, "-timeout", "200ms"), flags...)...)
			if status == exitOK && command[len(command)-1] != "-h" {
				t.Errorf("%q %q succeeds", command, flags)
			}
			if text := stdout + stderr; strings.Contains(text, password) || strings.TrimSpace(text) == "" {
				t.Errorf("%q with %q writes %q", command, flags, text)
			}
		}
	}
}
