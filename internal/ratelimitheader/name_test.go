package ratelimitheader

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestLimit_OfRealHeaders_IsTheNameThatTheServerGives(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", maxValueBytes)
	for _, tt := range []struct {
		name    string
		headers []string
		want    string // with its reach behind "/"
	}{
		{"nothing", nil, ""},
		{"GitHub", []string{"X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1767269430", "X-RateLimit-Resource: search"}, "search"},
		{"Discord, a bucket", []string{"X-RateLimit-Bucket: abcd1234", "X-RateLimit-Scope: user"}, "abcd1234/user"},
		{"Discord, a bucket of several users", []string{"X-RateLimit-Bucket: abcd1234", "X-RateLimit-Scope: shared"}, "abcd1234/shared"},
		{"Discord, global", []string{"X-RateLimit-Global: true", "X-RateLimit-Scope: global"}, "/global"},
		{"Discord, global by its scope alone", []string{"X-RateLimit-Scope: global", "X-RateLimit-Bucket: abcd1234"}, "/global"},
		{"global in other letters", []string{"X-RateLimit-Global: True"}, "/global"},
		{"not global", []string{"X-RateLimit-Global: false", "X-RateLimit-Bucket: abcd1234"}, "abcd1234"},
		{"Discord, in other letters", []string{"X-RateLimit-Bucket: abcd1234", "X-RateLimit-Scope: Shared"}, "abcd1234/shared"},
		{"a scope of another kind", []string{"X-RateLimit-Bucket: abcd1234", "X-RateLimit-Scope: api"}, "abcd1234"},
		{"a user's, without a name", []string{"X-RateLimit-Scope: user"}, "/user"},
		{"Datadog", []string{"X-RateLimit-Name: logs_public_search_api", "X-RateLimit-Period: 10"}, "logs_public_search_api"},
		{"GitLab", []string{"RateLimit-Name: throttle_authenticated_api", "RateLimit-Remaining: 0"}, "throttle_authenticated_api"},
		{"Slack and AWS: none", []string{"Retry-After: 30", "X-Slack-Req-Id: 9f1", "X-Amzn-RateLimit-Limit: 2.0", "X-Amzn-ErrorType: ThrottlingException"}, ""},
		{"Atlassian: a reason is no name", []string{"RateLimit-Reason: jira-burst-based"}, ""},

		{"IETF, the item that refused", []string{`RateLimit: "hour";r=900;t=3000, "burst";r=0;t=4`}, "burst"},
		{"IETF, the tightest", []string{`RateLimit: "hour";r=900;t=3000`, `RateLimit: "burst";r=7;t=4`}, "burst"},
		{"IETF, the first of equals", []string{`RateLimit: "hour";r=0;t=3000, "burst";r=0;t=4`}, "hour"},
		{"IETF, one item", []string{`RateLimit: "hour";r=900;t=3000`}, "hour"},
		{"IETF, without a time", []string{`RateLimit: "hour";r=0`}, "hour"},
		{"IETF, a token", []string{"RateLimit: hour;r=5;t=3"}, "hour"},
		{"IETF, spaces", []string{`RateLimit:   "hour" ;r=5;t=3`}, "hour"},
		{"IETF, default", []string{`RateLimit: "default";r=50;t=30`}, ""},
		{"IETF, default is the tightest", []string{`RateLimit: "hour";r=900;t=3000, "default";r=0;t=4`}, ""},
		{"IETF, an item without a name", []string{"RateLimit: ;r=5;t=3"}, ""},
		{"IETF, an item without a number", []string{`RateLimit: "hour";t=3`}, ""},
		{"IETF, a name that the list cuts", []string{`RateLimit: "a,b";r=5;t=3`}, ""},
		{"IETF, a name that its parameters cut", []string{`RateLimit: "a;b";r=5;t=3`}, ""},
		{"IETF, a policy", []string{`RateLimit-Policy: "burst";q=100;w=60`}, ""},
		{"draft 7", []string{"RateLimit: limit=10, remaining=4, reset=30"}, ""},
		{"a field made for it beside an item", []string{"X-RateLimit-Resource: search", `RateLimit: "gateway";r=5;t=3`}, "search"},

		{"default", []string{"X-RateLimit-Resource: default"}, ""},
		{"empty", []string{"X-RateLimit-Resource:  ", "X-RateLimit-Bucket: b"}, "b"},
		{"two lines", []string{"X-RateLimit-Resource: core", "X-RateLimit-Resource: search"}, ""},
		{"as long as may be", []string{"X-RateLimit-Resource: " + long}, long},
		{"too long", []string{"X-RateLimit-Resource: n" + long}, ""},
		{"an item's name that is too long", []string{`RateLimit: "n` + long + `";r=0;t=3`}, ""},
		{"no printable ASCII", []string{"X-RateLimit-Resource: s\x00arch"}, ""},
		{"more items than are read", []string{"RateLimit: " + strings.Repeat("a;r=9;t=5, ", maxValues) + "b;r=1;t=5"}, "a"},

		{"out of a cache", []string{"X-RateLimit-Resource: search", "Age: 3"}, ""},
		{"global, out of a cache", []string{"X-RateLimit-Global: true", "Age: 3"}, ""},
	} {
		got, reach := Limit(answer(429, tt.headers...).Header)
		if reach != "" {
			got += "/" + reach
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Each item is a count of its own; those without a name are one, of which the field
// that names the limit speaks.
func TestCounts_HaveTheNamesOfTheirLimits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		headers []string
		want    []Count
	}{
		{[]string{`RateLimit: "hour";r=900;t=3000, "burst";r=7;t=4`}, []Count{{"hour", 900, 3000 * second}, {"burst", 7, 4 * second}}},
		{[]string{`RateLimit: "default";r=50;t=30, "hour";r=9;t=3000, ;r=8;t=5`}, []Count{{"hour", 9, 3000 * second}, {"", 8, 5 * second}}},
		{[]string{`RateLimit: "default";r=50;t=30`, "X-RateLimit-Resource: search"}, []Count{{"search", 50, 30 * second}}},
		{[]string{`RateLimit: "hour";r=9`, "X-RateLimit-Remaining: 3", "X-RateLimit-Reset: 5"}, []Count{{"", 3, 5 * second}}},
		{[]string{"X-RateLimit-Remaining: 3", "X-RateLimit-Reset: 5", "X-RateLimit-Resource: core"}, []Count{{"core", 3, 5 * second}}},
		{[]string{"X-RateLimit-Resource: core"}, nil},
	} {
		var got []Count
		Counts(answer(200, tt.headers...).Header, time.Now(), func(c Count) { got = append(got, c) })
		if len(got) != len(tt.want) {
			t.Errorf("%q: got %v, want %v", tt.headers, got, tt.want)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%q: got %v, want %v", tt.headers, got, tt.want)
			}
		}
	}
}

func TestLimit_AllocatesNothing(t *testing.T) {
	for _, headers := range [][]string{
		nil,
		{"X-RateLimit-Resource: search"},
		{`RateLimit: "hour";r=900;t=3000, "burst";r=7;t=4`},
		{"X-RateLimit-Scope: global"},
	} {
		h := answer(429, headers...).Header
		if n := testing.AllocsPerRun(100, func() { Limit(h) }); n != 0 {
			t.Errorf("%q: %v allocations, want 0", headers, n)
		}
	}
}

// plainHeader is that of an answer without a word about limits.
func plainHeader() http.Header {
	return answer(200, "Date: Thu, 01 Jan 2026 12:00:30 GMT", "Content-Type: application/json", "Content-Length: 512", "Server: nginx",
		"Cache-Control: no-store", "Etag: x", "Vary: Accept", "X-Request-Id: 1", "Strict-Transport-Security: max-age=1", "Connection: keep-alive").Header
}

func BenchmarkLimit_OfAHeaderWithoutAny(b *testing.B) {
	h := plainHeader()
	b.ReportAllocs()
	for b.Loop() {
		Limit(h)
	}
}

func BenchmarkCounts_OfAHeaderWithoutAny(b *testing.B) {
	h, now := plainHeader(), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		Counts(h, now, func(Count) {})
	}
}

// Any header bytes give a short printable name, or none.
func FuzzLimit(f *testing.F) {
	for _, v := range []string{"", "core", `"a";r=0;t=5`, `"a";r=3, "b";r=0`, `";r=0`, `"";r=0`, "true", "global", "limit=1, remaining=0", "\x00\xff", ",;=", strings.Repeat("a", 99)} {
		f.Add(v, "search")
		f.Add("user", v)
		f.Add(v, v)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, field := range append(nameFields[:], "X-Ratelimit-Global", "X-Ratelimit-Scope") {
			name, reach := Limit(http.Header{field: {a}, "Ratelimit": {b}})
			if len(name) > maxValueBytes || name == unnamedLimit || (reach == global && name != "") || strings.Trim(name, " ") != name {
				t.Fatalf("%s: %q, RateLimit: %q: got %q, %q", field, a, b, name, reach)
			}
			for _, c := range []byte(name) {
				if c < ' ' || c > '~' || c == '"' {
					t.Fatalf("%s: %q, RateLimit: %q: got %q", field, a, b, name)
				}
			}
		}
	})
}
