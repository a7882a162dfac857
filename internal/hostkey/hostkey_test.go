package hostkey

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// keyOf is the default key of a URL that need not be one that url.Parse takes.
func keyOf(u *url.URL) string { return Of(&http.Request{URL: u}, nil).String() }

// The spellings of one address share a key, and other addresses do not.
func TestKeyFoldsSpellingsOfOneAddress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, url, want string }{
		{"plain", "https://api.example.com/v1?q=1#f", "https://api.example.com"},
		{"upper case", "HTTPS://API.Example.COM/", "https://api.example.com"},
		{"default port of https", "https://a.example:443/", "https://a.example"},
		{"default port of http", "http://a.example:80/", "http://a.example"},
		{"default port of wss", "wss://a.example:443/", "wss://a.example"},
		{"default port of ws", "ws://a.example:80/", "ws://a.example"},
		{"the other scheme's port", "http://a.example:443/", "http://a.example:443"},
		{"another port", "https://A.example:8443/", "https://a.example:8443"},
		{"empty port", "https://a.example:/", "https://a.example"},
		{"trailing dot", "https://a.example./", "https://a.example"},
		{"trailing dot before a port", "https://a.example.:8443/", "https://a.example:8443"},
		{"several trailing dots", "https://a.example../", "https://a.example"},
		{"user info", "https://joe:s3cret@a.example/", "https://a.example"},
		{"user info with an at sign", "https://joe%40corp:s%2F3@a.example:443/", "https://a.example"},
		{"IPv4", "http://192.0.2.1:80/", "http://192.0.2.1"},
		{"IPv6", "http://[2001:DB8::1]/", "http://[2001:db8::1]"},
		{"IPv6 with the default port", "http://[2001:db8::1]:80/", "http://[2001:db8::1]"},
		{"IPv6 with a port", "http://[2001:db8::1]:8080/", "http://[2001:db8::1]:8080"},
		{"IPv6 that ends in what looks like a port", "http://[2001:db8::80]/", "http://[2001:db8::80]"},
		{"IPv6 with a zone", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]"},
		{"IPv6 with a zone and a port", "http://[fe80::1%25eth0]:81/", "http://[fe80::1%eth0]:81"},
		{"IDN", "https://bücher.example/", "https://xn--bcher-kva.example"},
		{"IDN in upper case", "https://BÜCHER.Example:443/", "https://xn--bcher-kva.example"},
		{"IDN that was encoded before", "https://XN--Bcher-KVA.example/", "https://xn--bcher-kva.example"},
		{"IDN, percent-encoded", "https://b%C3%BCcher.example/", "https://xn--bcher-kva.example"},
		{"IDN, with ideographic dots", "https://例え。テスト:8443/", "https://xn--r8jz45g.xn--zckzah:8443"},
		{"IDN with a trailing ideographic dot", "https://bücher.example。/", "https://xn--bcher-kva.example"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(test.url)
			if err != nil {
				t.Fatal(err)
			}
			if got := keyOf(u); got != test.want {
				t.Errorf("key of %s: got %q, want %q", test.url, got, test.want)
			}
		})
	}
}

// The key names the scheme, so that http and https of a host are two.
func TestKeyTellsSchemesAndPortsApart(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, raw := range []string{"http://a.example", "https://a.example", "http://a.example:443", "https://a.example:80",
		"http://a.example:8080", "http://b.example", "http://sub.a.example", "http://[::1]", "http://[::1]:81"} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		key := keyOf(u)
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s share the key %q", raw, other, key)
		}
		seen[key] = raw
	}
}

// Internationalised names against the samples of RFC 3492, section 7.1 (without those
// that have upper case, which a host name loses), and others.
func TestKeyEncodesInternationalNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"bücher":            "xn--bcher-kva",
		"中文":                "xn--fiq228c",
		"münchen.example":   "xn--mnchen-3ya.example",
		"faß":               "xn--fa-hia", // IDNA 2008; 2003 has it as "fass"
		"例え.テスト":            "xn--r8jz45g.xn--zckzah",
		"www.例え.jp":         "www.xn--r8jz45g.jp",
		"пример.испытание":  "xn--e1afmkfd.xn--80akhbyknj4f",
		"παράδειγμα.δοκιμή": "xn--hxajbheg2az3al.xn--jxalpdlp",
		"☃.net":             "xn--n3h.net",
		"💩.la":              "xn--ls8h.la",
		"a-ü-b":             "xn--a--b-1ra",
		"ليهمابتكلموشعربي؟": "xn--egbpdaj6bu4bxfgehfvwxn",
		"他们为什么不说中文":         "xn--ihqwcrb4cv8a8dqg056pqjye",
		"他們爲什麽不說中文":         "xn--ihqwctvzc91f659drss3x8bo0yb",
		"למההםפשוטלאמדבריםעברית":          "xn--4dbcagdahymbxekheh6e0a7fei0b",
		"почемужеонинеговорятпорусски":    "xn--b1abfaaepdrnnbgefbadotcwatmq2g4l",
		"なぜみんな日本語を話してくれないのか":              "xn--n8jok5ay5dzabd5bym9f0cm5685rrjetr6pdxa",
		"세계의모든사람들이한국어를이해한다면얼마나좋을까":        "xn--989aomsvi5e83db1d2a355cv1e0vak1dwrv93d5xbh15a0dt30a5jpsd879ccm6fea98c",
		"tạisaohọkhôngthểchỉnóitiếngviệt": "xn--tisaohkhngthchnitingvit-kjcr8268qyxafd2f1b9g",
		"3年b組金八先生":                  "xn--3b-ww4c5e180e575a65lsy2b",
		"安室奈美恵-with-super-monkeys":  "xn---with-super-monkeys-pc58ag80a8qai00g7n9n",
		"hello-another-way-それぞれの場所": "xn--hello-another-way--fc4qua05auwb3674vfr0b",
		"ひとつ屋根の下2":                  "xn--2-u9tlzr9756bt3uc0v",
		"majiでkoiする5秒前":             "xn--majikoi5-783gue6qz075azm5e",
		"パフィーdeルンバ":                 "xn--de-jg4avhby1noc0d",
		"そのスピードで":                   "xn--d9juau41awczczp",
	} {
		if got := asciiHost(name); got != want {
			t.Errorf("asciiHost(%q): got %q, want %q", name, got, want)
		}
	}
}

// Hostile hosts give bounded, valid keys that are still told apart.
func TestKeyOfHostileHostsIsBounded(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	distinct := func(n int) string { // of as many different characters as there can be
		var b strings.Builder
		for r := rune(0x4e00); b.Len() < n; r++ {
			b.WriteRune(r)
		}
		return b.String()
	}
	seen := map[string]string{}
	for name, host := range map[string]string{
		"8 KiB":                      strings.Repeat("a", 8<<10),
		"8 KiB with another end":     strings.Repeat("a", 8<<10-1) + "b",
		"8 KiB of dots":              strings.Repeat(".", 8<<10),
		"8 KiB of labels":            strings.Repeat("ab.", 8<<10/3),
		"8 KiB of ideographs":        distinct(8 << 10),
		"8 KiB of ideographs, other": distinct(8<<10) + "x",
		"1 MiB of ideographs":        distinct(1 << 20),
		"8 KiB of ports":             strings.Repeat(":80", 8<<10/3),
		"a long port":                "a:" + strings.Repeat("1", 8<<10),
		"CRLF":                       "a\r\nHost: b",
		"NUL":                        "a\x00b",
		"invalid UTF-8":              "a\xff\xfe.example",
		"long invalid UTF-8":         strings.Repeat("\xff", 8<<10),
		"a hash tag":                 "{}",
		"open bracket":               "[",
		"closing bracket":            "]:80",
		"unbracketed IPv6":           "2001:db8::1",
		"two ports":                  "a:80:80",
		"a dot after a port":         "a:80.",
		"a surrogate":                "\xed\xa0\x80",
	} {
		key := keyOf(&url.URL{Scheme: "http", Host: host})
		if len(key) > MaxLen+len("http://") {
			t.Errorf("%s: the key has %d bytes, want %d at most", name, len(key), MaxLen+len("http://"))
		}
		if !utf8.ValidString(key) {
			t.Errorf("%s: the key %q is not valid UTF-8", name, key)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s share the key %q", name, other, key)
		}
		seen[key] = name
	}
	// Far above what it takes, and far below what a quadratic scan of 1 MiB does.
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("the keys took %v", took)
	}
}

// Whatever user info, path and query are, they do not show in the key.
func TestKeyHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	u := &url.URL{Scheme: "https", User: url.UserPassword("joe", "s3cret"), Host: "a.example", Path: "/s3cret", RawPath: "/s3cret",
		RawQuery: "key=s3cret", Fragment: "s3cret"}
	req := &http.Request{URL: u, Host: "s3cret.example", Header: http.Header{"Authorization": {"s3cret"}}}
	if got, want := Of(req, nil).String(), "https://a.example"; got != want {
		t.Errorf("got key %q, want %q", got, want)
	}
}

// A Key of the user's own is taken as it is, within the bound, but for spaces and
// control characters, which are escaped; an empty one means the
// default.
func TestKeyOfTheUsersOwn(t *testing.T) {
	t.Parallel()
	req := &http.Request{URL: &url.URL{Scheme: "https", Host: "A.example:443"}}
	for _, test := range []struct{ custom, want string }{
		{"tenant-7", "tenant-7"},
		{"tenant 7\r\nö", "tenant%207%0d%0aö"},
		{"Tenant:443.", "Tenant:443."},
		{"", "https://a.example"},
		{strings.Repeat("k", MaxLen), strings.Repeat("k", MaxLen)},
	} {
		got := Of(req, func(r *http.Request) string {
			if r != req {
				t.Error("Key was not given the request")
			}
			return test.custom
		})
		if got.String() != test.want {
			t.Errorf("Key returned %q: got %q, want %q", test.custom, got, test.want)
		}
	}
	long := func(end string) string {
		return Of(req, func(*http.Request) string { return strings.Repeat("ü", MaxLen) + end }).String()
	}
	if a, b := long("a"), long("b"); a == b || len(a) > MaxLen || !utf8.ValidString(a) || a != long("a") {
		t.Errorf("long keys are %q and %q; want them bounded, valid, different and stable", a, b)
	}
}

// No key has a space or a control character: in the name of a record, a space ends it.
func TestOf_EscapesSpacesAndControlCharacters(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ scheme, host, custom, want string }{
		{"https", "a b", "", "https://a%20b"},
		{"http", "a\r\nHost: b", "", "http://a%0d%0ahost:%20b"},
		{"ht tp", "a\x00", "", "ht%20tp://a%00"},
		{"https", "a", " tenant\t7\x7f ", "%20tenant%097%7f%20"},
		{"https", "a", "tenant%207", "tenant%207"},
		{"https", "a", "ten\xffant ö", "ten%ffant%20%c3%b6"},
	} {
		req := &http.Request{URL: &url.URL{Scheme: test.scheme, Host: test.host}}
		got := Of(req, func(*http.Request) string { return test.custom }).String()
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test, got, test.want)
		}
	}
	long := Of(&http.Request{}, func(*http.Request) string { return strings.Repeat(" ", MaxLen) }).String()
	if len(long) > MaxLen || strings.ContainsAny(long, " ") {
		t.Errorf("the key %q has a space, or is too long", long)
	}
}

func TestOf_CustomKeyThatNeedsNoEscapeAllocatesNothing(t *testing.T) {
	req := httptest.NewRequest("GET", "https://api.example.com/v1", nil)
	custom := func(*http.Request) string { return "https://api.example.com-tenant-7" }
	var name Name
	if n := testing.AllocsPerRun(100, func() { name = Of(req, custom) }); n != 0 {
		t.Errorf("naming %q allocates %v times, want 0", name, n)
	}
}

// Naming a healthy host allocates nothing, also where the name that is looked up is
// one of several in turn.
func TestKeyOfTheCommonCaseAllocatesNothing(t *testing.T) {
	for _, raw := range []string{"https://api.example.com/v1", "http://a.example:80/", "https://a.example:443/", "http://a.example:8080/",
		"https://a-host-with-quite-a-long-name.internal.corp.example:8443/", "http://[2001:db8::1]:8080/", "http://192.0.2.1/", "https://a.example./"} {
		req := httptest.NewRequest("GET", raw, nil)
		var name Name
		if n := testing.AllocsPerRun(100, func() { name = Of(req, nil) }); n != 0 {
			t.Errorf("%s: naming %q allocates %v times, want 0", raw, name, n)
		}
	}
}

// FuzzKey: normalising is idempotent and bounded, and nothing but scheme and
// host enters a key.
func FuzzKey(f *testing.F) {
	for _, host := range []string{"", "a.example", "A.Example:443", "a.example.", "a..", ":80", "a:", "a:80:80", "a:80.", "[::1]", "[::1]:80",
		"[::1]:80.", "[fe80::1%eth0]:8080", "::1", "bücher.example。", "BÜCHER:80", "中文.中文:443", "[ü]:80:", "a\r\nb", "a\x00", "\xff\xfe",
		"xn--bcher-kva", "\u212a", "\u0130", "user:pass@host", "host/path?query", strings.Repeat("a", 400), strings.Repeat("ü", 400) + ":80",
		strings.Repeat("a.", 200) + "~:80"} {
		f.Add("https", host, "s3cret")
		f.Add("http", host, "/@?#:")
	}
	f.Fuzz(func(t *testing.T, scheme, host, secret string) {
		u := &url.URL{Scheme: scheme, Host: host}
		name := Of(&http.Request{URL: u}, nil)
		if len(name.Host) > MaxLen {
			t.Errorf("host %q: the key has %d bytes", host, len(name.Host))
		}
		if again := Of(&http.Request{URL: &url.URL{Scheme: name.Scheme, Host: name.Host}}, nil); again != name {
			t.Errorf("scheme %q, host %q: got %q, and of that %q", scheme, host, name, again)
		}
		full := *u
		full.User, full.Path, full.RawQuery, full.Fragment = url.UserPassword(secret, secret), secret, secret, secret
		if got := Of(&http.Request{URL: &full, Host: secret}, nil); got != name {
			t.Errorf("host %q: the key is %q, and with user info, path and query %q", host, name, got)
		}
		if parsed, err := url.Parse(full.String()); err == nil && parsed.Host == host && parsed.Scheme == scheme {
			if got := Of(&http.Request{URL: parsed}, nil); got != name || strings.ContainsAny(got.Host, "@/?#") {
				t.Errorf("url %q: got key %q, want %q", &full, got, name)
			}
		}
	})
}
