package scope

import (
	"net/http"
	"strings"
	"testing"
)

func TestScope_JoinKeepsWhatBothHave(t *testing.T) {
	for _, tt := range []struct{ a, b, want Scope }{
		{Scope{"/a", "1", "x"}, Scope{"/a", "1", "x"}, Scope{"/a", "1", "x"}},
		{Scope{"/a", "1", "x"}, Scope{"/a", "1", "y"}, Scope{"/a", "1", ""}},
		{Scope{"/a", "1", "x"}, Scope{"/a", "2", "x"}, Scope{"/a", "", "x"}},
		{Scope{"/a", "1", "x"}, Scope{"/b", "1", "y"}, Scope{"", "1", ""}},
		{Scope{"/a", "1", "x"}, Scope{"/b", "2", "y"}, Scope{}},
		{Scope{"/a", "", ""}, Scope{"/a", "1", "x"}, Scope{"/a", "", ""}},
		{Scope{}, Scope{"/a", "1", "x"}, Scope{}},
	} {
		got := tt.a.Join(tt.b)
		if got != tt.want || tt.b.Join(tt.a) != tt.want {
			t.Errorf("%q and %q have %q in common, want %q", tt.a, tt.b, got, tt.want)
		}
		if !got.Covers(tt.a) || !got.Covers(tt.b) {
			t.Errorf("%q does not cover %q and %q", got, tt.a, tt.b)
		}
	}
	if (Scope{Route: "/a"}).Covers(Scope{Route: "/b"}) || (Scope{Credential: "1"}).Covers(Scope{}) {
		t.Error("a scope covers what lies outside it")
	}
}

func TestScope_RecordsAndWords(t *testing.T) {
	const key = "https://api.example.com"
	for _, tt := range []struct {
		scope               Scope
		record, words, kind string
	}{
		{Scope{}, key, "", "key"},
		{Scope{Route: "/v1/search"}, key + " /v1/search", "/v1/search", "route"},
		{Scope{Route: "/v1/*", Credential: "3f0a"}, key + " /v1/* #3f0a", "/v1/* of credential 3f0a", "route+credential"},
		{Scope{Route: "/", Credential: "3f0a", Replica: "R"}, key + " / #3f0a @R", "/ of credential 3f0a of one replica", "route+credential+replica"},
		{Scope{Credential: "3f0a"}, key + " #3f0a", "credential 3f0a", "credential"},
		{Scope{Replica: "R"}, key + " @R", "one replica", "replica"},
		{Scope{Route: Named("search")}, key + " =search", "the limit search", "route"},
	} {
		if got := tt.scope.Of(key); got != tt.record {
			t.Errorf("the record is %q, want %q", got, tt.record)
		}
		k, part := Split(tt.record)
		if got := Parse(part); k != key || got != tt.scope || Record(k, part) != tt.record {
			t.Errorf("%q is read as %q of %q", tt.record, got, k)
		}
		if got := tt.scope.Words(); got != tt.words {
			t.Errorf("%q in words: %q, want %q", tt.scope, got, tt.words)
		}
		if got := tt.scope.Kind(); got != tt.kind {
			t.Errorf("%q is of kind %q, want %q", tt.scope, got, tt.kind)
		}
	}
}

// What servers and users name can stand in a record, whatever its characters are.
func TestClean_NameIsReadBackAsTheRoute(t *testing.T) {
	for name, want := range map[string]string{
		"":                       "",
		"gpt-4o":                 "gpt-4o",
		"@cf/meta/llama-3.1-8b":  "_cf/meta/llama-3.1-8b",
		"#1":                     "_1",
		"=search":                "_search",
		"a b\n\x7fé":             "a_b___",
		"a@b#c=d":                "a@b#c=d",
		strings.Repeat("x", 100): strings.Repeat("x", maxName),
	} {
		got := Clean(name)
		if got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
		for _, s := range []Scope{{Route: got}, {Route: Named(name), Credential: "3f0a"}, {Route: got, Credential: "3f0a", Replica: "R"}} {
			if read := Parse(s.String()); read != s {
				t.Errorf("%q is read as %#v, want %#v", s, read, s)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("https://h", "/v1/search", "#3f0a")
	f.Add("h", "@cf/model", "=x")
	f.Add("h", "a b", "\xff")
	f.Fuzz(func(t *testing.T, key, route, name string) {
		for _, s := range []Scope{{Route: Clean(route)}, {Route: Named(name)}, {Route: Route(route), Credential: "0001", Replica: "R"}, {Credential: "0001"}} {
			if got := Parse(s.String()); got != s {
				t.Errorf("%q is read as %#v, want %#v", s, got, s)
			}
		}
		clean := Clean(key) // keys have no space
		if k, part := Split(Scope{Route: Clean(route)}.Of(clean)); k != clean || part != Clean(route) {
			t.Errorf("%q and %q are read as %q and %q", clean, Clean(route), k, part)
		}
		if k, part := Split(key); strings.Contains(k, separator) || (part != "" && Record(k, part) != key) {
			t.Errorf("%q is taken apart into %q and %q", key, k, part)
		}
		// Any text is read as some scope, which is then read as itself.
		s := Parse(key)
		if got := Parse(s.String()); got != s && s.Route != "" {
			t.Errorf("%q is read as %#v, and that as %#v", key, s, got)
		}
	})
}

// A point is the route and the credential, as each is by itself.
func TestPoint_IsRouteAndCredential(t *testing.T) {
	for _, path := range []string{"", "/", "/v1/users", "/v1/users/42", "/a%2Fb/c", "/a/b/c/d/e", "/1/2/3/4/5"} {
		for _, authorization := range []string{"", "Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a", basic("ada:one")} {
			req, err := http.NewRequest("GET", "https://h"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", authorization)
			want := Scope{Route: Route(req.URL.EscapedPath()), Credential: Credential(req)}
			if got := Point(req); got != want {
				t.Errorf("%q with %q: got %+v, want %+v", path, authorization, got, want)
			}
		}
	}
}

// A sender is the same for all that one sends, whatever it signs, and another for others.
func TestSender_TellsSendersApart(t *testing.T) {
	of := func(authorization string) uint64 {
		return Sender(request(http.Header{"Authorization": {authorization}}, nil))
	}
	const a, b = "Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a", "Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4b"
	if first := of(a); of(a) != first || first == of(b) || of("") != 0 || of("Bearer short") != 0 {
		t.Error("two senders are one, or one is two, or none is one")
	}
	if of(basic("ada:one")) != of(basic("ada:two")) {
		t.Error("a password makes another sender")
	}
}

// What the server says of whose a limit is wins over what a refusal alone tells.
func TestReach_IsWhatTheServerSays(t *testing.T) {
	point := Scope{Route: "=b", Credential: "3f0a", Replica: "r"}
	for word, want := range map[string]Scope{
		"":       point,
		"other":  point,
		"user":   {Route: "=b", Credential: "3f0a"},
		"shared": {Route: "=b"},
		"global": {Credential: "3f0a"},
	} {
		if got := Reach(point, word); got != want {
			t.Errorf("%q: got %+v, want %+v", word, got, want)
		}
	}
	nobody := Scope{Route: "=b", Replica: "r"}
	if got := Reach(nobody, "user"); got != nobody {
		t.Errorf("a user that is not known: got %+v, want the point alone", got)
	}
}
