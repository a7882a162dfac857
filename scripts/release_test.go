// Package scripts tests the scripts beside it.
package scripts

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	root    = "github.com/go-holdoff/holdoff"
	version = "v0.1.0"
)

// published are the modules for users, as scripts/release has them.
var published = []string{"", "/telemetry/prometheus", "/telemetry/otel", "/stores/postgres", "/cmd/holdoff"}

// A workshop is a clone of this repository, and an environment for commands in it that
// touches nothing outside.
type workshop struct {
	t     *testing.T
	clone string
	env   map[string]string
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	top, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Skip("this is no clone")
	}
	w := &workshop{t: t, clone: filepath.Join(t.TempDir(), "clone"), env: map[string]string{
		"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
		"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1", "HOLDOFF_RELEASE_DATE": "2026-01-02",
		"GOWORK": "off", "GOFLAGS": "",
	}}
	w.must(".", "git", "clone", "-q", strings.TrimSpace(string(top)), w.clone)
	w.must(w.clone, "git", "checkout", "-q", "-B", "main")
	return w
}

func (w *workshop) run(dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(w.t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = os.Environ()
	for name, value := range w.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *workshop) must(dir, name string, args ...string) string {
	w.t.Helper()
	out, err := w.run(dir, name, args...)
	if err != nil {
		w.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// publish makes a module proxy of files from the tags of the clone, as the Go command
// makes the modules: it takes the clone for the repository.
func (w *workshop) publish() (proxy string) {
	w.t.Helper()
	env := maps.Clone(w.env)
	defer func() { w.env = env }()
	w.env = maps.Clone(env)
	proxy = w.t.TempDir()
	maps.Copy(w.env, map[string]string{
		"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "url." + w.clone + ".insteadOf", "GIT_CONFIG_VALUE_0": "https://" + root,
		"GOPRIVATE": root, "GOPROXY": "direct", "GOMODCACHE": proxy, "GOFLAGS": "-modcacherw",
	})
	for _, module := range published {
		w.must(w.t.TempDir(), "go", "mod", "download", root+module+"@"+version)
	}
	return filepath.Join(proxy, "cache", "download")
}

const program = `package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/go-holdoff/holdoff"
	holdoffprom "github.com/go-holdoff/holdoff/telemetry/prometheus"
	"github.com/prometheus/client_golang/prometheus"
)

func main() {
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	tr := &holdoff.Transport{}
	prometheus.MustRegister(&holdoffprom.Collector{Transport: tr})
	resp, err := (&http.Client{Transport: tr}).Get(srv.URL)
	if err != nil {
		panic(err)
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode, "after", calls, "sends")
}
`

// A release is rehearsed whole: tags, a module proxy, a program that gets the library from
// it, and the command that is installed from it.
func TestRelease_PublishedModulesServeAFreshProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds everything")
	}
	w := newWorkshop(t)
	out := w.must(w.clone, "scripts/release", version)
	if branch := strings.TrimSpace(w.must(w.clone, "git", "symbolic-ref", "--short", "HEAD")); branch != "main" {
		t.Errorf("it ends on %q", branch)
	}
	for _, module := range published {
		tag := strings.TrimPrefix(module+"/", "/") + version
		if !strings.Contains(out, tag) {
			t.Errorf("%q is not among what is pushed:\n%s", tag, out)
		}
	}
	if changes, err := os.ReadFile(filepath.Join(w.clone, "CHANGELOG.md")); err != nil || !strings.Contains(string(changes), "## [Unreleased]\n\n## [0.1.0] - 2026-01-02\n") {
		t.Errorf("the changelog has no section of the release, %v", err)
	}
	if mods := w.must(w.clone, "git", "grep", "-l", "^replace", "--", "*go.mod"); !strings.Contains(mods, "cmd/holdoff/go.mod") {
		t.Errorf("the branch has lost the replace directives that it is developed with: %s", mods)
	}

	proxy := w.publish()
	// What was already downloaded is taken from there: a proxy of files as well.
	known := filepath.Join(strings.TrimSpace(w.must(".", "go", "env", "GOMODCACHE")), "cache", "download")
	usual := strings.TrimSpace(w.must(".", "go", "env", "GOPROXY"))
	bin := t.TempDir()
	maps.Copy(w.env, map[string]string{
		"GOPROXY": fmt.Sprintf("file://%s,file://%s,%s", proxy, known, usual), "GOSUMDB": "off", "GOBIN": bin,
		"GOMODCACHE": t.TempDir(), "GOFLAGS": "-modcacherw -trimpath",
	})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	w.must(dir, "go", "mod", "init", "example.com/fresh")
	w.must(dir, "go", "get", root+"@"+version, root+"/telemetry/prometheus@"+version)
	w.must(dir, "go", "mod", "tidy")
	if out := w.must(dir, "go", "run", "."); strings.TrimSpace(out) != "200 after 2 sends" {
		t.Errorf("the program says %q", out)
	}
	for _, module := range published[2:4] { // those that nothing above has used; to build them takes long
		w.must(dir, "go", "get", root+module+"@"+version)
	}
	w.must(".", "go", "install", root+"/cmd/holdoff@"+version)
	if out := w.must(".", filepath.Join(bin, "holdoff"), "help"); !strings.Contains(out, "holdoff clear") {
		t.Errorf("the command says %q", out)
	}
	if out := w.must(".", filepath.Join(bin, "holdoff"), "version"); !strings.Contains(out, version) {
		t.Errorf("its version is %q", out)
	}
}

func TestRelease_RefusesWhatIsNoRelease(t *testing.T) {
	w := newWorkshop(t)
	for _, version := range []string{"", "0.1.0", "v1", "v1.2", "v01.2.3", "v2.0.0", "v1.2.3 x", "latest"} {
		if out, err := w.run(w.clone, "scripts/release", version); err == nil || !strings.Contains(out, "release: ") {
			t.Errorf("%q: got %v, %q", version, err, out)
		}
	}
	changed := func(what, want string, change, undo func()) {
		change()
		defer undo()
		if out, err := w.run(w.clone, "scripts/release", version); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: got %v, %q; want %q", what, err, out, want)
		}
	}
	reset := func() { w.must(w.clone, "git", "reset", "-q", "--hard", "HEAD~1") }
	commit := func(file, text string) {
		path := filepath.Join(w.clone, file)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		w.must(w.clone, "git", "add", "-A")
		w.must(w.clone, "git", "commit", "-q", "-m", "change")
	}
	changed("a tag of a module", "the tag cmd/holdoff/"+version+" exists",
		func() { w.must(w.clone, "git", "tag", "cmd/holdoff/"+version) }, func() { w.must(w.clone, "git", "tag", "-d", "cmd/holdoff/"+version) })
	changed("a module that nobody thought of", "new/go.mod",
		func() { commit("new/go.mod", "module "+root+"/new\n") }, reset)
	changed("nothing unreleased", "nothing under [Unreleased]",
		func() { commit("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n## [0.0.1] - 2025-01-01\n\n- old\n") }, reset)
	changed("a work tree with changes", "has changes",
		func() { os.WriteFile(filepath.Join(w.clone, "new.go"), nil, 0o644) }, func() { os.Remove(filepath.Join(w.clone, "new.go")) })
	changed("no branch", "no branch",
		func() { w.must(w.clone, "git", "checkout", "-q", "--detach") }, func() { w.must(w.clone, "git", "checkout", "-q", "main") })
}
