package virtual

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// environment names the file that the test writes its rows to.
const environment = "HOLDOFF_VIRTUAL"

// Report makes all runs, with so many seeds, and returns their rows. It is called
// within the module, since it has go test make them.
func Report(ctx context.Context, quick bool, seeds int, progress io.Writer) ([]Row, error) {
	dir, err := os.MkdirTemp("", "virtual")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "rows.json")
	fmt.Fprintf(progress, "virtual: %d rows, with %d seeds each\n", len(plan(quick)), seeds)
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=2h", "-run=^TestReport$",
		"github.com/go-holdoff/holdoff/bench/virtual", "-args", fmt.Sprintf("-seeds=%d", seeds), fmt.Sprintf("-quick=%t", quick))
	cmd.Env = append(os.Environ(), environment+"="+file)
	cmd.Stdout, cmd.Stderr = progress, progress
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go test: %w", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var rows []Row
	return rows, json.Unmarshal(data, &rows)
}
