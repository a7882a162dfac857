// Package report keeps what the measurements find: as JSON files, and as Markdown
// in a document, between the markers of their section.
package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Out is where the sections of a report go.
type Out struct {
	// Quick asks for runs that are short, and tell whether the measurements work
	// rather than what they find.
	Quick bool
	// Print gets the Markdown of every section.
	Print io.Writer
	// Dir is the directory for JSON files. If empty, there are none.
	Dir string
	// Doc is the document that has the sections' markers, and Readme the one for
	// the figures. If empty, there is none.
	Doc, Readme string
	// Images is the directory for plots.
	Images string
}

// Run is what a section's JSON file holds.
type Run struct {
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions,omitempty"`
	Results  any               `json:"results"`
}

// Put keeps the results of a section, and the Markdown that shows them. Versions
// are those of what was measured.
func (o *Out) Put(section string, results any, versions map[string]string, markdown string) error {
	run := Run{ThisMachine(), versions, results}
	if o.Dir != "" {
		if err := o.writeJSON(section, run); err != nil {
			return err
		}
	}
	return o.Write(o.Doc, section, run.String()+"\n"+strings.TrimSpace(markdown)+"\n")
}

// Write prints the text of a section, and puts it into a document, if there is one.
func (o *Out) Write(doc, section, text string) error {
	fmt.Fprintf(o.Print, "\n%s\n", text)
	if doc == "" {
		return nil
	}
	old, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	changed, err := Splice(string(old), section, text)
	if err != nil {
		return fmt.Errorf("%s: %w", doc, err)
	}
	return os.WriteFile(doc, []byte(changed), 0o644)
}

// String says where and when the run was made, and of what.
func (r Run) String() string { return r.Machine.String() + "\n" + list(r.Versions) }

// list writes versions as a sentence.
func list(versions map[string]string) string {
	var all []string
	for name, version := range versions {
		all = append(all, name+" "+cmp.Or(version, "of an unknown version"))
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return "Versions: " + strings.Join(all, "; ") + ".\n"
}

func (o *Out) writeJSON(section string, run Run) error {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(run, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.Dir, section+".json"), append(data, '\n'), 0o644)
}

// Read takes in what writeJSON wrote of a section: its results into results, and
// the rest as it returns it.
func Read(dir, section string, results any) (Run, error) {
	data, err := os.ReadFile(filepath.Join(dir, section+".json"))
	if err != nil {
		return Run{}, err
	}
	run := Run{Results: results}
	return run, json.Unmarshal(data, &run)
}

// Splice returns doc with text between the markers <!-- section --> and
// <!-- /section -->.
func Splice(doc, section, text string) (string, error) {
	begin, end := "<!-- "+section+" -->", "<!-- /"+section+" -->"
	before, rest, found := strings.Cut(doc, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", fmt.Errorf("there are no markers %s and %s", begin, end)
	}
	return before + begin + "\n" + strings.TrimSpace(text) + "\n" + end + after, nil
}

// Machine is where a measurement was made, and when.
type Machine struct {
	Date  string `json:"date"`
	Go    string `json:"go"`
	OS    string `json:"os"`
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
}

// ThisMachine describes the machine that this program runs on.
func ThisMachine() Machine {
	return Machine{
		Date: time.Now().UTC().Format(time.DateOnly), Go: runtime.Version(),
		OS: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpu(), Cores: runtime.NumCPU(),
	}
}

func (m Machine) String() string {
	return fmt.Sprintf("Measured on %s: %s, %s, %s, %d cores.", m.Date, m.Go, m.OS, m.CPU, m.Cores)
}

// cpu names the processor, where the system tells.
func cpu() string {
	model := ""
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return cmp.Or(model, "unnamed CPU")
}
