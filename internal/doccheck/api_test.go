package doccheck

import (
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/go-holdoff/holdoff"

// apiFile has the exported API, a name per line. That a line goes or changes is
// what breaks users.
const apiFile = "api/holdoff.txt"

// TestAPI fails where the exported API is not that of api/holdoff.txt.
// HOLDOFF_API=update writes the file again.
func TestAPI(t *testing.T) {
	got := api(t)
	if os.Getenv("HOLDOFF_API") == "update" {
		text := strings.Join(got, "\n") + "\n"
		if err := os.WriteFile(filepath.Join(root, apiFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := strings.Split(strings.TrimSpace(read(t, apiFile)), "\n")
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s: a breaking change: this is gone or is another:\n%s", apiFile, line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s: this is new, and is to be added:\n%s", apiFile, line)
		}
	}
}

// api returns a line for each exported name.
func api(t *testing.T) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Name}}\t{{.Export}}", "./...")
	list.Dir = root
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	compiled := make(map[string]string)
	var public []string // what users import
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		compiled[f[0]] = f[2]
		ours := f[0] == module || strings.HasPrefix(f[0], module+"/")
		if ours && f[1] != "main" && f[2] != "" && !strings.Contains(f[0], "/internal/") {
			public = append(public, f[0])
		}
	}
	slices.Sort(public)
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(compiled[path])
	})
	var lines []string
	for _, path := range public {
		pkg, err := imports.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range pkg.Scope().Names() {
			if obj := pkg.Scope().Lookup(name); obj.Exported() {
				lines = append(lines, describe(pkg, obj)...)
			}
		}
	}
	return lines
}

func describe(pkg *types.Package, obj types.Object) []string {
	qualify := func(p *types.Package) string {
		if p == pkg {
			return ""
		}
		return p.Path()
	}
	written := func(t types.Type) string {
		if sig, ok := t.(*types.Signature); ok {
			// Names of parameters are not part of the API.
			t = types.NewSignatureType(nil, nil, nil, unnamed(sig.Params()), unnamed(sig.Results()), sig.Variadic())
		}
		return types.TypeString(t, qualify)
	}
	var lines []string
	line := func(format string, args ...any) {
		lines = append(lines, "pkg "+pkg.Path()+", "+fmt.Sprintf(format, args...))
	}
	switch obj := obj.(type) {
	case *types.Const:
		line("const %s %s = %s", obj.Name(), written(obj.Type()), obj.Val().ExactString())
	case *types.Var:
		line("var %s %s", obj.Name(), written(obj.Type()))
	case *types.Func:
		line("func %s%s", obj.Name(), strings.TrimPrefix(written(obj.Type()), "func"))
	case *types.TypeName:
		switch under := obj.Type().Underlying().(type) {
		case *types.Struct:
			line("type %s struct", obj.Name())
			for f := range under.Fields() {
				if f.Exported() {
					line("type %s struct, %s %s", obj.Name(), f.Name(), written(f.Type()))
				}
			}
		case *types.Interface:
			// All in one line: to implementers a further method is a break.
			var methods []string
			for m := range under.Methods() {
				methods = append(methods, m.Name()+strings.TrimPrefix(written(m.Type()), "func"))
			}
			line("type %s interface { %s }", obj.Name(), strings.Join(methods, "; "))
			return lines
		default:
			line("type %s %s", obj.Name(), written(under))
		}
		methods := types.NewMethodSet(types.NewPointer(obj.Type()))
		for m := range methods.Methods() {
			if m.Obj().Exported() {
				line("method (%s) %s%s", obj.Name(), m.Obj().Name(), strings.TrimPrefix(written(m.Type()), "func"))
			}
		}
	}
	return lines
}

func unnamed(vars *types.Tuple) *types.Tuple {
	var plain []*types.Var
	for v := range vars.Variables() {
		plain = append(plain, types.NewParam(token.NoPos, nil, "", v.Type()))
	}
	return types.NewTuple(plain...)
}
