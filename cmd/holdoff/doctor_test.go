package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

// examined runs the doctor, and returns its findings by check.
func examined(t *testing.T, args ...string) (status int, found map[string][]finding) {
	t.Helper()
	status, stdout, stderr := do(t, append([]string{"doctor", "-json"}, args...)...)
	if stderr != "" {
		t.Errorf("it writes %q", stderr)
	}
	var list []finding
	decode(t, stdout, &list)
	found = make(map[string][]finding)
	for _, f := range list {
		found[f.Check] = append(found[f.Check], f)
	}
	return status, found
}

// worst returns the checks that are not sound.
func worst(found map[string][]finding) (list []string) {
	for check, findings := range found {
		for _, f := range findings {
			if f.Status != sound {
				list = append(list, check+" "+f.Status+": "+f.Words+" ("+f.Fix+")")
			}
		}
	}
	slices.Sort(list)
	return list
}

func TestDoctor_SoundRedisIsSoundAndLeftAsItWas(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	_, found := examined(t, "-redis-url", at(srv))
	if names := srv.Client().Keys(t.Context(), "*").Val(); len(names) > 0 {
		t.Errorf("it leaves %q", names)
	}
	if list := worst(found); len(list) != 1 || !strings.HasPrefix(list[0], "replicas warning: no process listens") {
		t.Errorf("got %q, want nothing except that no process listens", list)
	}
	fleet(t, srv.Client(), "default")
	eventually(t, "a replica listens, and all is sound", func() bool {
		status, found := examined(t, "-redis-url", at(srv))
		return status == exitOK && len(worst(found)) == 0
	})
}

func TestDoctor_WhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		start      []string
		prepare    func(*redistest.Server)
		status     int
	}{
		{"eviction", "memory warning: 0 % of", []string{"--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"}, nil, exitOK},
		{"full", "memory failure", []string{"--maxmemory", "1mb"}, nil, exitError},
		{"password", "connection failure", []string{"--requirepass", "x"}, nil, exitError},
		{"an earlier version", "records warning: there are data of wire version 2,", nil, func(s *redistest.Server) {
			s.Client().HSet(t.Context(), "holdoff:{default}:v2:meta", "seq", 1)
		}, exitOK},
		{"a replica", "role failure: the server is a replica", nil, func(s *redistest.Server) { s.Follow(redistest.Start(t).Addr) }, exitError},
		{"scripts that take long", "rehearsal failure", nil, func(s *redistest.Server) {
			s.Client().Do(t.Context(), "ACL", "SETUSER", "default", "-evalsha", "-eval")
		}, exitError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t, tt.start...)
			if tt.prepare != nil {
				tt.prepare(srv)
			}
			status, found := examined(t, "-redis-url", at(srv), "-timeout", "1s")
			list := worst(found)
			if !slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, tt.want) }) || status != tt.status {
				t.Errorf("exit status %d and %q, want %d and %q", status, list, tt.status, tt.want)
			}
		})
	}
}

func TestDoctor_ChannelThatIsForbiddenIsAWarning(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	as(t, srv, "service", append(documented(t, "holdoff"), "resetchannels")...)
	status, found := examined(t, "-redis-url", at(srv), "-redis-user", "service", "-redis-password", password)
	list := strings.Join(worst(found), "\n")
	if status != exitOK || !strings.Contains(list, "'&holdoff:*'") || !strings.Contains(list, "it was found by a poll") {
		t.Errorf("exit status %d,\n%s", status, list)
	}
}

func TestDoctor_KeysThatAreForbiddenAreAFailure(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	as(t, srv, "service", append(documented(t, "holdoff"), "resetkeys", "~other:*")...)
	status, found := examined(t, "-redis-url", at(srv), "-redis-user", "service", "-redis-password", password)
	if list := strings.Join(worst(found), "\n"); status != exitError || !strings.Contains(list, "'~holdoff:*'") {
		t.Errorf("exit status %d,\n%s", status, list)
	}
}

// documented returns the rules of a user of docs/OPERATIONS.md.
func documented(t *testing.T, user string) []any {
	t.Helper()
	text, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^redis-cli ACL SETUSER ` + user + ` on '>password' (.*)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("docs/OPERATIONS.md has no user %s", user)
	}
	var rules []any
	for rule := range strings.FieldsSeq(string(m[1])) {
		rules = append(rules, strings.Trim(rule, "'"))
	}
	return rules
}

// Each right that is missing is named, and the documented users lack none.
func TestDoctor_RightsThatAreMissingAreNamed(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rules := documented(t, "holdoff-operator")
	for _, r := range rights {
		name := r.command()
		if !slices.Contains(rules, any("+"+name)) {
			t.Errorf("the documented operator has no %s", name)
			continue
		}
		as(t, srv, "operator", slices.DeleteFunc(slices.Clone(rules), func(rule any) bool { return rule == "+"+name })...)
		c := connection{url: at(srv), user: "operator", password: password, prefix: "holdoff", namespace: "default", timeout: 5e9}
		client, err := c.open()
		if err != nil {
			t.Fatal(err)
		}
		d := &doctor{connection: &c, client: client, node: client}
		d.checkRights(t.Context())
		client.Close()
		if name == "hello" || name == "ping" {
			continue // go-redis does without
		}
		if len(d.findings) != 1 || !strings.Contains(d.findings[0].Words, "lacks +"+name) || !strings.Contains(d.findings[0].Fix, "ACL SETUSER operator +"+name) {
			t.Errorf("without %s: got %+v", name, d.findings)
		}
	}
}

// The documented users may do all that the command does for them.
func TestDocumentedUsers_Suffice(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	as(t, srv, "holdoff", documented(t, "holdoff")...)
	as(t, srv, "holdoff-operator", documented(t, "holdoff-operator")...)
	s := fleet(t, srv.Client(), "default")
	for _, user := range []string{"holdoff", "holdoff-operator"} {
		as := func(args ...string) string {
			return must(t, append(args, "-redis-url", at(srv), "-redis-user", user, "-redis-password", password)...)
		}
		refused(t, s, "https://a.example", 60e9)
		if out := as("ls"); !strings.Contains(out, "https://a.example is held") {
			t.Errorf("%s: got %q", user, out)
		}
		if out := as("clear", "https://a.example"); !strings.Contains(out, "Released: https://a.example") {
			t.Errorf("%s: got %q", user, out)
		}
		status, found := examined(t, "-redis-url", at(srv), "-redis-user", user, "-redis-password", password)
		list := worst(found)
		if user == "holdoff" {
			list = slices.DeleteFunc(list, func(s string) bool { return strings.Contains(s, "+info") || strings.Contains(s, "+pubsub|") })
		}
		if status != exitOK || len(list) > 0 {
			t.Errorf("%s: exit status %d, %q", user, status, list)
		}
	}
	srv.Client().Do(t.Context(), "ACL", "LOG", "RESET")
	must(t, "ls", "-all", "-redis-url", at(srv), "-redis-user", "holdoff-operator", "-redis-password", password)
	if log := srv.Client().Do(t.Context(), "ACL", "LOG").String(); strings.Contains(log, "holdoff-operator") && !strings.Contains(log, "setinfo") {
		t.Errorf("ACL LOG has %s", log)
	}
}
