// Package docs has no code: its tests hold what the docs say against the code.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every Go snippet of these pages is part of a file that is compiled, and in a
// test run. Indentation does not count.
func TestSnippetsAreOfExamples(t *testing.T) {
	var sources []string
	for _, dir := range []string{"../telemetry", "../examples"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") {
				sources = append(sources, flush(t, path))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, page := range []string{"TELEMETRY.md", "COMPOSITION.md"} {
		snippets := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(flush(t, page), -1)
		if len(snippets) == 0 {
			t.Errorf("%s has no snippets", page)
		}
		for _, snippet := range snippets {
			if !strings.Contains(strings.Join(sources, "\n"), "\n"+snippet[1]) {
				t.Errorf("%s: no file has this snippet:\n%s", page, snippet[1])
			}
		}
	}
}

// flush returns the text of a file with all its lines flush left.
func flush(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllString(string(text), "")
}
