package pagetest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestScreenshots takes pictures of examples/admin, for a person to look at:
// wide and narrow, light and dark. HOLDOFF_SCREENSHOTS is where they go, instead
// of the test's artifacts. HOLDOFF_PICTURE is a file for the one in the docs;
// that takes minutes, so that the charts have something to show.
func TestScreenshots(t *testing.T) {
	open(t, "about:blank") // or skip
	program := filepath.Join(t.TempDir(), "admin")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/go-holdoff/holdoff/examples/admin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	admin := exec.Command(program, "-addr", "127.0.0.1:0")
	admin.Stderr = os.Stderr
	stdout, err := admin.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Process.Kill(); admin.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url := regexp.MustCompile(`http://\S+`).FindString(line)
	if url == "" {
		t.Fatalf("got %q, %v, want what to open", line, err)
	}
	dir, picture, warm := os.Getenv("HOLDOFF_SCREENSHOTS"), os.Getenv("HOLDOFF_PICTURE"), 9*time.Second
	if dir == "" {
		dir = t.ArtifactDir()
	}
	if picture != "" {
		warm = 2*time.Minute + 10*time.Second
	}
	time.Sleep(warm)

	for _, look := range []struct {
		name          string
		width, height int64
	}{{"wide", 1280, 900}, {"narrow", 390, 1800}} {
		for _, scheme := range []string{"light", "dark"} {
			b := open(t, url,
				call(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: look.width, Height: look.height, DeviceScaleFactor: 1, Mobile: look.name == "narrow"}),
				call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
			b.untilLive()
			b.until(`document.querySelectorAll("#keys li").length > 0 && !!document.querySelector("#parked button")`)
			if scheme == "dark" { // with a result
				eval[bool](b, `(document.querySelectorAll("#parked button")[1] ?? document.querySelector("#parked button")).click(); true`)
				b.until(`[...document.querySelectorAll("#parked output")].some((e) => /^(Success|Failed)/.test(e.textContent))`)
			}
			if over := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
				t.Errorf("%s: the page is %d pixels too wide", look.name, over)
			}
			shot := run(b, chromedp.CaptureScreenshot())
			write(t, filepath.Join(dir, fmt.Sprintf("%s-%s.png", look.name, scheme)), shot)
			if picture != "" && look.name == "wide" && scheme == "light" {
				write(t, picture, shot)
			}
		}
	}
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Error(err)
	}
	t.Logf("%s: %d bytes", name, len(b))
}
