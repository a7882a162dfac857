// Package doccheck has the tests of what is written about the code: snippets,
// links, commands, doc comments and the exported API.
package doccheck

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository's.
const root = "../.."

// files returns the paths below root, in slashes, of the files with a suffix.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(root, path)
		if !d.IsDir() && strings.HasSuffix(rel, suffix) {
			found = append(found, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("no files *%s: %v", suffix, err)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fence finds blocks of code, with their language.
var fence = regexp.MustCompile("(?ms)^ *```([a-z]*)\n(.*?)^ *```$")

// even is code without the white space by which two copies of it may differ.
func even(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// What a document shows as Go is part of a file that is compiled: an example, if
// it is to be run as well.
func TestSnippetsAreOfCompiledCode(t *testing.T) {
	var compiled []string
	for _, path := range files(t, ".go") {
		compiled = append(compiled, even(read(t, path)))
	}
	for _, path := range files(t, ".md") {
		for _, block := range fence.FindAllStringSubmatch(read(t, path), -1) {
			if block[1] != "go" {
				continue
			}
			found := false
			for _, code := range compiled {
				found = found || strings.Contains("\n"+code, "\n"+even(block[2]))
			}
			if !found {
				t.Errorf("%s: this is in no Go file:\n%s", path, block[2])
			}
		}
	}
}

// The snippets of RETRY_LOGIC.md are parts of examples that are run, and whose
// output is checked.
func TestSnippetsOfRetryLogicAreRun(t *testing.T) {
	var run strings.Builder
	fset := token.NewFileSet()
	for _, path := range files(t, "_test.go") {
		if strings.Count(path, "/") > 1 {
			continue
		}
		text := read(t, path)
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, example := range doc.Examples(file) {
			if example.Output != "" {
				from, to := fset.Position(example.Code.Pos()).Offset, fset.Position(example.Code.End()).Offset
				run.WriteString("\n" + even(text[from:to]))
			}
		}
	}
	for _, block := range fence.FindAllStringSubmatch(read(t, "docs/RETRY_LOGIC.md"), -1) {
		if block[1] == "go" && !strings.Contains(run.String(), "\n"+even(block[2])) {
			t.Errorf("no example with output has\n%s", block[2])
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	markup  = regexp.MustCompile("`|\\[|\\]\\([^)]*\\)")
)

// anchors are the names that a page gives to a document's headings.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, h := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := strings.ToLower(markup.ReplaceAllString(strings.TrimSpace(h[1]), ""))
		name = strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', r >= 'a' && r <= 'z', r >= '0' && r <= '9', r > 0x7f && r != '…' && r != '–':
				return r
			}
			return -1
		}, name)
		found[name] = true
	}
	return found
}

func TestLinksResolve(t *testing.T) {
	for _, path := range files(t, ".md") {
		for _, l := range link.FindAllStringSubmatch(fence.ReplaceAllString(read(t, path), ""), -1) {
			if strings.Contains(l[1], "://") || strings.HasPrefix(l[1], "mailto:") {
				continue
			}
			target, anchor, _ := strings.Cut(l[1], "#")
			to := path
			if target != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(path), target))
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: %s is not there", path, l[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(to, ".md") && !anchors(read(t, to))[anchor] {
				t.Errorf("%s: %s has no heading #%s", path, to, anchor)
			}
		}
	}
}

// command finds calls of go that name packages, in blocks and in running text.
var command = regexp.MustCompile("go (?:-C ([./a-z]+) )?(?:run|test)\\b([^`\n|;&]*)")

func TestCommandsNamePackages(t *testing.T) {
	for _, path := range files(t, ".md") {
		for _, c := range command.FindAllStringSubmatch(read(t, path), -1) {
			for arg := range strings.FieldsSeq(c[2]) {
				if !strings.HasPrefix(arg, "./") {
					continue
				}
				dir, all := strings.CutSuffix(strings.TrimRight(arg, "),:"), "...")
				dir = filepath.Join(root, c[1], dir)
				pattern := "*.go"
				if all {
					pattern = "*"
				}
				if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) == 0 {
					t.Errorf("%s: %q: there is no package %s", path, c[0], arg)
				}
			}
		}
	}
}

// packages returns the Go files of the root module, by directory.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	var nested []string
	for _, path := range files(t, "/go.mod") {
		nested = append(nested, strings.TrimSuffix(path, "go.mod"))
	}
	dirs := make(map[string][]string)
	for _, path := range files(t, ".go") {
		if !slices.ContainsFunc(nested, func(dir string) bool { return strings.HasPrefix(path, dir) }) {
			dirs[filepath.Dir(path)] = append(dirs[filepath.Dir(path)], path)
		}
	}
	return dirs
}

func TestExportedNamesHaveComments(t *testing.T) {
	fset := token.NewFileSet()
	for dir, paths := range packages(t) {
		told := false
		for _, path := range paths {
			file, err := parser.ParseFile(fset, path, read(t, path), parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			told = told || file.Doc != nil
			if strings.HasSuffix(path, "_test.go") || file.Name.Name == "main" {
				continue
			}
			for _, decl := range file.Decls {
				for _, name := range bare(decl) {
					t.Errorf("%v: %s has no comment", fset.Position(name.Pos()), name.Name)
				}
			}
		}
		if !told {
			t.Errorf("the package in %s has no comment", dir)
		}
	}
}

// bare returns the exported names of a declaration that have no comment: of their
// own, at the end of their line, or of the group that they are in.
func bare(decl ast.Decl) (names []*ast.Ident) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || receiver(d).IsExported()) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			var own bool
			var of []*ast.Ident
			switch s := spec.(type) {
			case *ast.TypeSpec:
				own, of = s.Doc != nil, []*ast.Ident{s.Name}
			case *ast.ValueSpec:
				own, of = s.Doc != nil || s.Comment != nil, s.Names
			}
			for _, name := range of {
				if !own && d.Doc == nil && name.IsExported() {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

func receiver(d *ast.FuncDecl) *ast.Ident {
	of := d.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	return of.(*ast.Ident)
}
