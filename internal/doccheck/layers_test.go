package doccheck

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// A layer says what one package may import. Packages of the standard library are
// free, unless std or never say otherwise.
type layer struct {
	name  string
	own   []string // packages of internal
	other []string // packages of other modules
	std   []string // all that it may import of the standard library; nil: any
	never []string // what its own files must not import, though it may come with others
}

const (
	cleanhttp = "github.com/hashicorp/go-cleanhttp"
	goRedis   = "github.com/redis/go-redis/v9"
	zap       = "go.uber.org/zap"
	zapcore   = "go.uber.org/zap/zapcore"
)

// layers are all packages of the library, each with what stands to its left: what
// is not here may not be imported. The last is the root.
var layers = []layer{
	{name: "jitter", std: []string{"math/rand/v2", "time"}},
	{name: "hostkey"},
	{name: "scope"},
	{name: "retrybudget"},
	{name: "redact"},
	{name: "limit", std: []string{"math", "time"}},
	{name: "ratelimitheader", own: []string{"limit"}},
	{name: "replay"},
	// Pure: it is told the time and the jitter.
	{name: "hold", std: []string{"math", "slices", "time"}},
	{name: "mirror", own: []string{"hold", "scope"}},
	{name: "quota", own: []string{"ratelimitheader", "hold"}},
	{
		name:  "admission",
		own:   []string{"jitter", "hostkey", "scope", "retrybudget", "limit", "hold", "quota"},
		never: []string{"net/http"},
	},
	{name: "redisrun", other: []string{goRedis}},
	{name: "redisstore", own: []string{"jitter", "hostkey", "scope", "limit", "hold", "mirror", "redisrun"}, other: []string{goRedis, zap}},
	{
		name: "",
		own: []string{
			"jitter", "hostkey", "scope", "retrybudget", "redact", "limit", "ratelimitheader", "replay", "hold", "mirror", "quota", "admission", "redisstore",
		},
		other: []string{cleanhttp, goRedis, zap, zapcore},
	},
}

// testsOnly are packages of internal that only tests use: they may import any.
var testsOnly = []string{"doccheck", "faults", "redistest", "sim"}

// may returns why a package of the layer may not import another, or "".
func (l layer) may(imported string) string {
	own, isOwn := strings.CutPrefix(imported, module+"/internal/")
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case imported == module:
		return "no internal package imports the root"
	case isOwn && !slices.Contains(l.own, own):
		return "it is not to its left"
	case isOwn:
	case strings.Contains(first, ".") && !slices.Contains(l.other, imported):
		return "it is not one of its modules"
	case strings.Contains(first, "."):
	case l.std != nil && !slices.Contains(l.std, imported):
		return "it may import nothing of the standard library except " + strings.Join(l.std, ", ")
	case slices.Contains(l.never, imported):
		return "its own files must not"
	}
	return ""
}

// Each package imports only packages to its left.
func TestLayers_EachPackageImportsOnlyThoseToItsLeft(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, ".", "./internal/...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(strings.TrimPrefix(fields[0], module), "/internal/")
		if slices.Contains(testsOnly, name) {
			continue
		}
		seen[name] = true
		i := slices.IndexFunc(layers, func(l layer) bool { return l.name == name })
		if i < 0 {
			t.Errorf("%s is in no layer: give it one, with what it may import", fields[0])
			continue
		}
		for _, imported := range fields[1:] {
			if why := layers[i].may(imported); why != "" {
				t.Errorf("%s imports %s: %s", fields[0], imported, why)
			}
		}
	}
	for _, l := range layers {
		if !seen[l.name] {
			t.Errorf("there is no package %s", path.Join(module, "internal", l.name))
		}
	}
}

// The layers themselves have an order: none stands to the left of itself.
func TestLayers_AreInOrder(t *testing.T) {
	for i, l := range layers {
		for _, own := range l.own {
			if at := slices.IndexFunc(layers, func(l layer) bool { return l.name == own }); at < 0 || at >= i {
				t.Errorf("%q may import %q, which is not to its left", l.name, own)
			}
		}
	}
}
