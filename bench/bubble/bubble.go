// Package bubble has go test make runs in virtual time for programs: a testing/synctest
// bubble needs a test.
package bubble

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// environment names the file to which the test writes its results.
const environment = "HOLDOFF_REPORT"

// Run has the TestReport of a package make runs, and reads their results. It is called
// within the module.
func Run(ctx context.Context, pkg string, results any, output io.Writer, args ...string) error {
	dir, err := os.MkdirTemp("", "bubble")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "results.json")
	args = append([]string{"test", "-count=1", "-timeout=2h", "-run=^TestReport$", "github.com/go-holdoff/holdoff/bench/" + pkg, "-args"}, args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), environment+"="+file)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, results)
}

// Report calls make in a TestReport that Run started, and hands over the results. Any
// other TestReport is skipped.
func Report(t *testing.T, make func() any) {
	file := os.Getenv(environment)
	if file == "" {
		t.Skip("makes no report, since " + environment + " names no file for it")
	}
	data, err := json.Marshal(make())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
