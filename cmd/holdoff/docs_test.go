package main

import (
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Each command, each flag and each field of the file is in docs/COMMAND.md.
func TestDocs_HaveAllCommandsFlagsAndFields(t *testing.T) {
	t.Parallel()
	doc := read(t, "../../docs/COMMAND.md")
	for _, c := range commands {
		if !strings.Contains(doc, "`holdoff "+c.name) {
			t.Errorf("the document has no command %s", c.name)
		}
		flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
		c.setup(flags)
		flags.VisitAll(func(f *flag.Flag) {
			if !strings.Contains(doc, "`-"+f.Name+"`") && !strings.Contains(doc, "`-"+f.Name+" ") {
				t.Errorf("the document has no flag -%s of %s", f.Name, c.name)
			}
		})
	}
	for _, of := range []struct {
		v   any
		tag string
	}{{upstream{}, "yaml"}, {entry{}, "json"}, {cleared{}, "json"}, {finding{}, "json"}, {change{}, "json"}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(of.v)) {
			name, _, _ := strings.Cut(field.Tag.Get(of.tag), ",")
			if name != "" && !strings.Contains(doc, "`"+name+"`") {
				t.Errorf("the document has no field %s", name)
			}
		}
	}
}

// The vendors of the document are those that there are.
func TestDocs_VendorsAreThoseThatThereAre(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile(`(?m)^\| .vendor. .*knows: (.*) \|$`).FindStringSubmatch(read(t, "../../docs/COMMAND.md"))
	if row == nil || len(strings.Split(row[1], ", ")) != len(knownVendors) {
		t.Fatalf("got %q, want the %d vendors", row, len(knownVendors))
	}
	for name := range strings.SplitSeq(row[1], ", ") {
		if _, known := knownVendors[name]; !known {
			t.Errorf("there is no vendor %s", name)
		}
	}
}
