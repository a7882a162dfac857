package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

func TestExplain_TellsTheStoryOfAKey(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := fleet(t, srv.Client(), "default")
	if out := must(t, "explain", "https://a.example", "-redis-url", at(srv)); !strings.Contains(out, "No change of https://a.example is known") {
		t.Errorf("got %q where there was none", out)
	}
	refused(t, s, "https://a.example /v1", 30*time.Second)
	refused(t, s, "https://b.example", 30*time.Second)
	refused(t, s, "https://a.example", 20*time.Second)
	if err := s.Clear(context.Background(), "https://a.example /v1"); err != nil {
		t.Fatal(err)
	}
	if err := s.ClearAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // what was sent before is ignored
	refused(t, s, "https://a.example", 10*time.Second)
	out := must(t, "explain", "https://a.example", "-redis-url", at(srv))
	const clock = `\n\d\d:\d\d:\d\d\.\d{3}  `
	const why = `: 429 Too Many Requests, the server asked for it`
	want := `^\d{4}-\d\d-\d\d` + clock + `/v1: is held for 30 s` + why + clock + `is held for 20 s` + why +
		clock + `/v1: an operator released it` + clock + `an operator released it` + clock + `an operator released everything` + clock + `is held for (10 s|9\.\d s|10\.0 s)` + why + `\nNow: https://a.example is held .*\n$`
	if !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("got\n%s", out)
	}
	if out := must(t, "explain", "https://a.example", "/v1", "-redis-url", at(srv)); strings.Count(out, "is held for") != 1 {
		t.Errorf("got\n%swant the scope alone", out)
	}
	var got []event
	decode(t, must(t, "explain", "https://a.example", "-json", "-redis-url", at(srv)), &got)
	if len(got) != 6 || got[0].Change != "phase" || got[0].Record != "https://a.example /v1" || got[2].Change != "cleared" || time.Since(got[5].Time).Abs() > time.Minute {
		t.Errorf("got %+v", got)
	}
}

func TestExplain_LogIsBounded(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := fleet(t, srv.Client(), "default")
	for i := range 1300 {
		refused(t, s, "https://a.example", time.Minute+time.Duration(i)*time.Second/10)
	}
	if n := srv.Client().XLen(t.Context(), "holdoff:{default}:v3:changes").Val(); n < 100 || n > 1200 {
		t.Errorf("%d changes are kept, want about 1000", n)
	}
}
