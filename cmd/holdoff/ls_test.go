package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

func TestLs_SaysInWordsWhatIsHeld(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := fleet(t, srv.Client(), "default")
	refused(t, s, "https://api.example.com /v1/search/* #3f0a", 30*time.Second)
	refused(t, s, "https://other.example", 4*time.Minute)
	refused(t, s, "https://evil.example/\x1b[2J\n", time.Minute)
	out := must(t, "ls", "-redis-url", at(srv))
	want := regexp.MustCompile(`^https://other\.example is held for (4 min 00|3 min 59) s more: 429 Too Many Requests, the server asked for it; last failure 0 s ago
https://evil\.example/\?\[2J\? is held for .*
/v1/search/\* of credential 3f0a of https://api\.example\.com is held for (30|29) s more: 429 Too Many Requests, the server asked for it; last failure 0 s ago
$`)
	if !want.MatchString(out) {
		t.Errorf("got\n%s", out)
	}
}

func TestLs_JSONIsStable(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := fleet(t, srv.Client(), "default")
	if out := must(t, "ls", "-json", "-redis-url", at(srv)); strings.TrimSpace(out) != "[]" {
		t.Errorf("got %q where nothing is held, want an empty list", out)
	}
	refused(t, s, "https://api.example.com /v1/search #3f0a", 30*time.Second)
	out := must(t, "ls", "-json", "-redis-url", at(srv))
	var got []struct {
		Namespace, Key, Record, Phase, Words string
		Scope                                struct{ Route, Credential string }
		Until, Last                          time.Time
		Left                                 int64
		Attempts, Status, Witnesses          int
		ServerAsked                          bool
	}
	decode(t, out, &got)
	if len(got) != 1 {
		t.Fatalf("got %s", out)
	}
	e := got[0]
	if e.Namespace != "default" || e.Key != "https://api.example.com" || e.Record != "https://api.example.com /v1/search #3f0a" || e.Phase != "held" ||
		e.Scope.Route != "/v1/search" || e.Scope.Credential != "3f0a" || e.Attempts != 1 || e.Status != 429 || !e.ServerAsked {
		t.Errorf("got %s", out)
	}
	if left := time.Until(e.Until); left < 20*time.Second || left > 31*time.Second || e.Left < 20000 || e.Left > 30100 || time.Since(e.Last).Abs() > 10*time.Second {
		t.Errorf("got %s", out)
	}
}

func TestLs_AllFindsTheNamespacesInUse(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	refused(t, fleet(t, srv.Client(), "billing"), "https://a.example", time.Minute)
	refused(t, fleet(t, srv.Client(), "search"), "https://b.example", time.Minute)
	fleet(t, srv.Client(), "idle")
	eventually(t, "all listen", func() bool {
		return len(srv.Client().PubSubChannels(t.Context(), "holdoff:*").Val()) == 3
	})
	out := must(t, "ls", "-all", "-redis-url", at(srv))
	if !regexp.MustCompile(`^billing:\n  https://a\.example is held .*\nidle:\n  Nothing is held.*\nsearch:\n  https://b\.example is held .*\n$`).MatchString(out) {
		t.Errorf("got\n%s", out)
	}
	out = must(t, "ls", "-namespace", "bilning", "-redis-url", at(srv))
	if !strings.Contains(out, `No process listens in the namespace "bilning". In use: billing, idle, search`) {
		t.Errorf("got %q, want the namespaces that there are", out)
	}
	if n := srv.Client().Exists(t.Context(), "holdoff:{bilning}:v3:meta").Val(); n != 0 {
		t.Error("a look at a namespace has made it")
	}
}

// It goes through the index: keys of others cost nothing.
func TestLs_LooksAtNoForeignKey(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	rdb.Do(t.Context(), "DEBUG", "POPULATE", 50000)
	refused(t, fleet(t, rdb, "default"), "https://a.example", time.Minute)
	rdb.ConfigResetStat(t.Context())
	must(t, "ls", "-all", "-redis-url", at(srv))
	stats := rdb.Info(t.Context(), "commandstats").Val()
	for _, command := range []string{"scan", "keys"} {
		if strings.Contains(stats, "cmdstat_"+command+":") {
			t.Errorf("it uses %s:\n%s", command, stats)
		}
	}
}

func TestWatch_WithoutATerminalWritesALineForEachChange(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := fleet(t, srv.Client(), "default")
	cmd := program(t, "watch", "-interval", "100ms", "-redis-url", at(srv))
	var out output
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	refused(t, s, "https://a.example", time.Minute)
	eventually(t, "the hold is seen", func() bool { return strings.Contains(out.String(), "https://a.example is held for") })
	time.Sleep(300 * time.Millisecond)
	if err := s.Clear(t.Context(), "https://a.example"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its end is seen", func() bool { return strings.Contains(out.String(), "https://a.example is open") })
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("got %d lines, want 2:\n%s", n, out.String())
	}
}

func TestWatch_JSONHasOneObjectPerChange(t *testing.T) {
	t.Parallel()
	var out output
	c := changes{env: &env{out: &out}, json: true}
	heldAt := func(until time.Duration) entry {
		return entryOf("n", holdoff.KeyState{Key: "k", State: holdoff.State{Phase: holdoff.Held, Until: time.Now().Add(until)}}, time.Now())
	}
	for _, found := range []listing{{}, {"n": {heldAt(5 * time.Second)}}, {"n": {heldAt(5 * time.Second)}}, {"n": {heldAt(50 * time.Second)}}, {}} {
		if err := c.show(found, nil); err != nil {
			t.Fatal(err)
		}
	}
	var kinds []string
	for line := range strings.Lines(out.String()) {
		var got change
		decode(t, line, &got)
		kinds = append(kinds, got.Change+" "+got.Phase)
	}
	if want := []string{"begins held", "changes held", "ends healthy"}; !slices.Equal(kinds, want) {
		t.Errorf("got %q, want %q", kinds, want)
	}
}
