package report

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPut(t *testing.T) {
	dir := t.TempDir()
	doc := filepath.Join(dir, "doc.md")
	old := "# Figures\n\n<!-- a -->\nold\n<!-- /a -->\n\n<!-- b -->\n<!-- /b -->\n"
	if err := os.WriteFile(doc, []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	out := Out{Print: &printed, Dir: filepath.Join(dir, "results"), Doc: doc}
	if err := out.Put("a", []int{1, 2}, map[string]string{"two": "v2", "one": "v1"}, "| new |\n"); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(doc)
	machine := ThisMachine().String()
	want := "# Figures\n\n<!-- a -->\n" + machine + "\nVersions: one v1; two v2.\n\n| new |\n<!-- /a -->\n\n<!-- b -->\n<!-- /b -->\n"
	if string(text) != want {
		t.Errorf("got the document\n%s\nwant\n%s", text, want)
	}
	if !strings.Contains(printed.String(), "| new |") {
		t.Errorf("printed %q", printed.String())
	}
	var results []int
	run, err := Read(out.Dir, "a", &results)
	if err != nil || !slices.Equal(results, []int{1, 2}) || run.Versions["one"] != "v1" || run.Machine != ThisMachine() {
		t.Errorf("read %v, %+v, %v", results, run, err)
	}
	if err := out.Put("c", nil, nil, ""); err == nil {
		t.Error("a section without markers was put somewhere")
	}
}

func TestTable(t *testing.T) {
	got := Table{[]string{"peer", "ns"}, [][]string{{"bare", "1"}}}.String()
	if want := "| peer | ns |\n|---|--:|\n| bare | 1 |\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFigure(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 0.004: "0.00", 1.333: "1.33", 9.996: "10.0", 99.94: "99.9", 99.96: "100", 1234.5: "1 234", 1234567: "1 234 567",
	} {
		if got := Figure(f); got != want {
			t.Errorf("%v: got %q, want %q", f, got, want)
		}
	}
}

func TestNoise(t *testing.T) {
	if got := Noise([]float64{0.5, 0.01, 0.02}); got != "" {
		t.Errorf("of a quiet machine: got %q", got)
	}
	if got := Noise([]float64{0.3, 0.2, 0.01}); !strings.Contains(got, "20 %") {
		t.Errorf("of a busy machine: got %q", got)
	}
}
