package holdoffprom

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// binary returns the path of promtool or prometheus. Without it the test is
// skipped, or fails where HOLDOFF_PROMTOOL=required is set.
func binary(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("HOLDOFF_PROMTOOL") == "required" {
		t.Fatalf("HOLDOFF_PROMTOOL=required, and there is no %s: %v", name, err)
	}
	t.Skipf("no %s on this machine", name)
	return ""
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary(t, "promtool"), args...).CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", "alerts.yaml")
	promtool(t, "test", "rules", "alerts_test.yaml")
}

// Of each alert it is tested when it fires and when it does not, and the docs say
// what to do about it.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	tests, doc := read(t, "alerts_test.yaml"), read(t, "../../docs/TELEMETRY.md")
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(read(t, "alerts.yaml"), -1)
	if n := strings.Count(read(t, "alerts.yaml"), "runbook_url: "); n != len(alerts) {
		t.Errorf("%d of %d alerts have a runbook_url", n, len(alerts))
	}
	if len(alerts) == 0 {
		t.Error("there are no alerts")
	}
	for _, alert := range alerts {
		name := alert[1]
		for what, pattern := range map[string]string{
			"fires":         `alertname: ` + name + `\n\s+exp_alerts:\n\s+- exp_labels`,
			"does not fire": `alertname: ` + name + `\n\s+exp_alerts: \[\]`,
		} {
			if !regexp.MustCompile(pattern).MatchString(tests) {
				t.Errorf("%s: no test of when it %s", name, what)
			}
		}
		if !strings.Contains(doc, "| `"+name+"` |") {
			t.Errorf("%s is not in docs/TELEMETRY.md", name)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
