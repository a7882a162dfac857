package pagetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// A page of another site has pointed its name at the handler's address, so that
// to the browser both are of one origin.
func TestPage_ReboundNameReachesNothing(t *testing.T) {
	s := start(t)
	s.set("mail.example", answer{http.StatusBadGateway, ""})
	id := s.send(http.MethodPost, "http://mail.example/", "x", "")
	mux := http.NewServeMux()
	mux.HandleFunc("/attack", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<title>attack</title>")
	})
	mux.Handle("/", s.handler)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.set("mail.example", answer{http.StatusOK, ""})
	sends := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.bodies)
	}
	before := sends()

	const attack = `(async () => {
		const call = {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({id: %q, attemptNumber: 2})};
		const answers = [await fetch("/state"), await fetch("/"), await fetch("/events"), await fetch("/retry", call)];
		return answers.map((a) => a.status).join(" ");
	})()`
	b := open(t, "http://rebound.example:"+u.Port()+"/attack")
	if got := eval[string](b, fmt.Sprintf(attack, id)); got != "403 403 403 403" {
		t.Errorf("got the statuses %s of a rebound name, want 403 for each", got)
	}
	if sends() != before {
		t.Error("the request was sent again")
	}
	b.mu.Lock()
	for _, line := range b.console {
		if !strings.Contains(line, "403") && !strings.Contains(line, "404") { // these are the browser's own, also of the icon
			t.Errorf("in the console: %s", line)
		}
	}
	b.console = nil
	b.mu.Unlock()

	// The same page at a name of this machine reaches the handler.
	b = open(t, "http://localhost:"+u.Port()+"/attack")
	const state = `fetch("/state").then((a) => a.status)`
	if got := eval[int](b, state); got != http.StatusOK {
		t.Errorf("got the status %d at localhost, want 200", got)
	}
	b.mu.Lock()
	b.console = nil // of the icon
	b.mu.Unlock()
}
