package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

func TestClear_SaysWhatItDid(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := fleet(t, srv.Client(), "default")
	for _, record := range []string{"https://a.example", "https://a.example /v1 #3f0a", "https://a.example /v2", "https://b.example"} {
		refused(t, s, record, time.Minute)
	}
	out := must(t, "clear", "https://a.example", "/v1", "-redis-url", at(srv))
	if strings.Count(out, "Released: ") != 1 || !strings.Contains(out, "Released: /v1 of credential 3f0a of https://a.example is held for") {
		t.Errorf("got %q, want the scope inside that of the arguments", out)
	}
	if out = must(t, "clear", "https://a.example", "-redis-url", at(srv)); strings.Count(out, "Released: ") != 2 {
		t.Errorf("got %q, want the key and its scope", out)
	}
	if out = must(t, "clear", "https://c.example", "-redis-url", at(srv)); !strings.Contains(out, "nothing that was held") || !strings.Contains(out, "to let go of https://c.example") {
		t.Errorf("got %q, want it to be cleared all the same", out)
	}
	var got cleared
	decode(t, must(t, "clear", "-all", "-json", "-redis-url", at(srv)), &got)
	if !got.All || len(got.Released) != 1 || got.Released[0].Key != "https://b.example" || len(got.HeldAgain) != 0 {
		t.Errorf("got %+v, want the key that was left", got)
	}
	if out = must(t, "ls", "-redis-url", at(srv)); !strings.Contains(out, "Nothing is held") {
		t.Errorf("got %q after all was cleared", out)
	}
}

func TestClear_OnATerminalAsksFirst(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := fleet(t, srv.Client(), "default")
	refused(t, s, "https://a.example", time.Minute)
	for _, tt := range []struct {
		answer string
		args   []string
		clears bool
	}{{"\n", nil, false}, {"n\n", nil, false}, {"", nil, false}, {"yess\n", nil, false}, {"", []string{"-yes"}, true}, {" Y \n", nil, true}} {
		var out, stderr output
		args := append([]string{"clear", "https://a.example", "-redis-url", at(srv)}, tt.args...)
		refused(t, s, "https://a.example", time.Minute)
		status := run(t.Context(), &env{in: strings.NewReader(tt.answer), out: &out, err: &stderr, interactive: true}, args)
		if (status == exitOK) != tt.clears || strings.Contains(out.String(), "Released:") != tt.clears {
			t.Errorf("%q %q: exit status %d, %s%s", tt.answer, tt.args, status, out.String(), stderr.String())
		}
		if asks := strings.Contains(out.String(), "[y/N]"); asks == (tt.args != nil) {
			t.Errorf("%q %q: got %q", tt.answer, tt.args, out.String())
		}
	}
}

// A server that refuses again at once is not shown as released.
func TestClear_HostThatStillRefusesIsSaidToBeHeldAgain(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := fleet(t, srv.Client(), "default")
	refused(t, s, "https://a.example", time.Minute)
	refusing, stop := context.WithCancel(t.Context())
	var server sync.WaitGroup
	server.Go(func() {
		for refusing.Err() == nil {
			s.Report(refusing, "https://a.example", refusal(time.Minute))
			time.Sleep(20 * time.Millisecond)
		}
	})
	defer server.Wait()
	defer stop()
	eventually(t, "a clear says that it is held again", func() bool {
		return strings.Contains(must(t, "clear", "https://a.example", "-redis-url", at(srv)), "Held again, since the server still refuses: https://a.example is held")
	})
}
