package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/retryapi"
)

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestAdmin(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	status := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		status <- run(ctx, []string{"-addr", "127.0.0.1:0", "-for", "5m"}, w, &stderr)
		w.Close()
	}()
	lines := bufio.NewReader(r)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("nothing was printed: %v; stderr: %s", err, &stderr)
	}
	go io.Copy(io.Discard, lines)
	url := regexp.MustCompile(`http://\S+/`).FindString(first)
	if url == "" {
		t.Fatalf("got %q, want what to open", first)
	}

	resp, body := get(t, url)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "<h1") || !strings.HasSuffix(resp.Request.URL.Path, "/holdoff/") {
		t.Errorf("GET /: got %s at %s, want the page:\n%s", resp.Status, resp.Request.URL, body)
	}
	// billing.example asks to be left alone after two seconds.
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		_, body := get(t, url+"holdoff/state?host=billing")
		var state retryapi.State
		if err := json.Unmarshal([]byte(body), &state); err != nil {
			t.Fatalf("GET /state: %v: %s", err, body)
		}
		if len(state.Keys) == 1 && state.Keys[0].Phase == "held" && state.Totals.Held > 0 {
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("nothing is held: %s", body)
		}
	}

	// Also where a page is open, it ends when it is told to.
	events, err := http.Get(url + "holdoff/events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	stop()
	if got := <-status; got != 0 || stderr.Len() > 0 {
		t.Errorf("got exit status %d and %q on stderr, want 0 and nothing", got, &stderr)
	}
}

func TestFor(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if got := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-for", "50ms"}, &stdout, &stderr); got != 0 {
		t.Errorf("got exit status %d and %q on stderr, want 0", got, &stderr)
	}
}

func TestBadFlags(t *testing.T) {
	for _, test := range []struct {
		args, want string
		status     int
	}{
		{"-for -1s", "-for is -1s", 2},
		{"-for soon", "-for", 2},
		{"page", `unexpected argument "page"`, 2},
		{"-addr nowhere:http:8080", "admin: listen", 1},
	} {
		var stdout, stderr bytes.Buffer
		if got := run(t.Context(), strings.Fields(test.args), &stdout, &stderr); got != test.status || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%s: got exit status %d and %q, want %d and %q", test.args, got, &stderr, test.status, test.want)
		}
	}
}
