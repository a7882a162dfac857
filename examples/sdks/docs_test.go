package sdks_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is measured, and the code as it is, into docs/SDKS.md")

const page = "../../docs/SDKS.md"

// generated finds the parts of the page that are made: what they are of, and
// what is there.
var generated = regexp.MustCompile(`(?s)<!-- (table|code|versions) ?(\S*) -->\n(.*?)<!-- end -->`)

// The page shows what was measured, and code that compiles and is tested.
func TestPageIsTrue(t *testing.T) {
	text := read(t, page)
	made := map[string]bool{}
	got := generated.ReplaceAllStringFunc(text, func(part string) string {
		m := generated.FindStringSubmatch(part)
		kind, of := m[1], m[2]
		made[kind+" "+of] = true
		var body string
		switch kind {
		case "table":
			f, ok := failures[of]
			if !ok {
				t.Fatalf("there is no failure %q", of)
			}
			body = table(t, f)
		case "code":
			body = "```go\n" + function(t, of) + "\n```\n"
		case "versions":
			body = versions(t)
		}
		return strings.Replace(part, ">\n"+m[3]+"<", ">\n"+body+"<", 1)
	})
	for _, part := range []string{"table 503", "table 429", "versions "} {
		if !made[part] {
			t.Errorf("%s has no %q", page, part)
		}
	}
	switch {
	case got == text:
	case *update:
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what was measured: see the difference after go test -update", page)
	}
}

// A trap that the page tells of is shown by the test that it names.
func TestPageNamesTests(t *testing.T) {
	tests := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	have := map[string]bool{}
	for _, file := range sources(t) {
		for _, m := range tests.FindAllStringSubmatch(read(t, file), -1) {
			have[m[1]] = true
		}
	}
	named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(read(t, page), -1)
	if len(named) == 0 {
		t.Errorf("%s names no test", page)
	}
	for _, name := range named {
		if !have[name] {
			t.Errorf("%s names %s, which there is not", page, name)
		}
	}
}

// function returns the source of a function of package sdks.
func function(t *testing.T, name string) string {
	t.Helper()
	for _, file := range sources(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == name {
				return read(t, file)[fset.Position(f.Pos()).Offset:fset.Position(f.End()).Offset]
			}
		}
	}
	t.Fatalf("there is no function %s", name)
	return ""
}

// versions tells what was measured.
func versions(t *testing.T) string {
	t.Helper()
	mod := read(t, "go.mod")
	var list []string
	for _, s := range all {
		_, after, found := strings.Cut(mod, "\t"+s.module+" ")
		if !found {
			t.Fatalf("go.mod does not require %s", s.module)
		}
		version, _, _ := strings.Cut(after, "\n")
		list = append(list, fmt.Sprintf("%s %s", s.name, strings.TrimSuffix(version, " // indirect")))
	}
	return strings.Join(list, ",\n") + ".\n"
}

func sources(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	return files
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
