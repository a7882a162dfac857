package retryapi

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

// parked parks a request with a header in a RedisLot, and returns what of it can
// be replayed.
func parked(t *testing.T, l *RedisLot, url string, header http.Header) *Claim {
	t.Helper()
	p := parkable(t, "PUT", url, []byte("body"))
	p.Request.Header = header
	return claim(t, l, park(t, l, p), 4)
}

// noSesame fails the test if Redis holds the word that stands for a secret.
func noSesame(t *testing.T, s *redistest.Server) {
	t.Helper()
	all := everything(t, s.Client())
	if len(all) == 0 {
		t.Fatal("Redis is empty: the test tests nothing")
	}
	for name, value := range all {
		if strings.Contains(name+value, "sesame") {
			t.Errorf("got a credential at %s: %s", name, value)
		}
	}
}

func TestRedisLot_WithholdsHeadersThatCarryCredentials(t *testing.T) {
	s := redistest.Start(t)
	l := redisLot(t, s, RedisLotOptions{})
	for _, name := range []string{
		"X-Vault-Token", "X-Amz-Security-Token", "Private-Token", "X-Shopify-Access-Token", "Dd-Api-Key",
		// Their relatives.
		"Dd-Application-Key", "X-Auth-Key", "X-Auth-Email", "Apikey", "X-Api-Key", "x_api_key", "X-Mbx-Apikey", "Ocp-Apim-Subscription-Key",
		"X-Functions-Key", "X-Goog-Api-Key", "X-Insert-Key", "X-Rapidapi-Key", "Cb-Access-Passphrase", "X-Amz-Server-Side-Encryption-Customer-Key",
		"Cf-Access-Client-Secret", "Cf-Access-Jwt-Assertion", "X-Amzn-Oidc-Data", "X-Csrftoken", "X-Hub-Signature-256", "Stripe-Signature",
		"X-Shopify-Hmac-Sha256", "Signature", "Set-Cookie2", "X-Session-Id", "X-Password", "X-Github-Otp", "Dpop", "X-Honeycomb-Team",
		"Proxy-Authorization", "X-Authorization", "x-VAULT-tOKEN",
	} {
		c := parked(t, l, "https://api.example.com/", http.Header{name: {"sesame"}, "X-Kept": {"kept"}})
		if want := []string{http.CanonicalHeaderKey(name)}; !slices.Equal(c.Withheld, want) {
			t.Errorf("got %v withheld, want %v", c.Withheld, want)
		}
		if want := (http.Header{"X-Kept": {"kept"}}); !reflect.DeepEqual(c.Request.Header, want) {
			t.Errorf("%s: got the header %v, want %v", name, c.Request.Header, want)
		}
	}
	noSesame(t, s)
}

func TestRedisLot_KeepsHeadersThatReplaysNeed(t *testing.T) {
	s := redistest.Start(t)
	l := redisLot(t, s, RedisLotOptions{})
	header := http.Header{}
	for _, name := range []string{
		"Idempotency-Key", "X-Idempotency-Key", "idempotency_key", "Content-Type", "Content-Encoding", "Content-Digest", "If-Match", "Accept",
		"User-Agent", "X-Request-Id", "Traceparent", "X-Amz-Date", "X-Monkey", "Keyword", "X-Tenant",
	} {
		header[name] = []string{"kept"}
	}
	header["Referer"] = []string{"https://www.example.com/page?q=1"}
	header["X-Question"] = []string{"is it so? yes"}
	if c := parked(t, l, "https://api.example.com/", header.Clone()); len(c.Withheld) != 0 || !reflect.DeepEqual(c.Request.Header, header) {
		t.Errorf("got %v, %v withheld; want all of %v", c.Request.Header, c.Withheld, header)
	}
}

func TestRedisLot_WithholdsURLsThatCarryCredentials(t *testing.T) {
	s := redistest.Start(t)
	l := redisLot(t, s, RedisLotOptions{})
	const host = "https://api.example.com/a%2Fb"
	for _, tt := range []struct {
		url, want string
		withheld  []string
	}{
		{host + "?access_token=sesame", host, []string{"?access_token"}},
		{host + "?b=2&api_key=sesame&a=1&a=%20&c", host + "?b=2&a=1&a=%20&c", []string{"?api_key"}},
		{host + "?key=sesame&keyword=shoes", host + "?keyword=shoes", []string{"?key"}},
		{host + "?signature=sesame&Signature=sesame", host, []string{"?Signature", "?signature"}},
		{host + "?X-Amz-Signature=sesame&X-Amz-Credential=sesame&X-Amz-Security-Token=sesame&X-Amz-Expires=60", host + "?X-Amz-Expires=60",
			[]string{"?X-Amz-Credential", "?X-Amz-Security-Token", "?X-Amz-Signature"}},
		{host + "?sv=2024&sig=sesame&se=1", host + "?sv=2024&se=1", []string{"?sig"}}, // Azure
		{host + "?X-Goog-Signature=sesame", host, []string{"?X-Goog-Signature"}},
		{host + "?client_secret=sesame&password=sesame&pwd=sesame&apiKey=sesame&hmac=sesame&sessionId=sesame&id_token=sesame", host,
			[]string{"?apiKey", "?client_secret", "?hmac", "?id_token", "?password", "?pwd", "?sessionId"}},
		{host + "?acc%65ss_token=sesame", host, []string{"?access_token"}},
		{host + "?a=1;token=sesame", host, []string{"?a", "?token"}},
		{host + "?token%=sesame", host, []string{"?token%"}},
		{"https://user:sesame@api.example.com/a%2Fb?token=sesame", host, []string{"?token", "Authorization"}},
		{host + "#access_token=sesame", host, nil},
		{host + "?a=1&a=2&b=%zz", host + "?a=1&a=2&b=%zz", nil},
	} {
		c := parked(t, l, tt.url, http.Header{})
		if got := c.Request.URL.String(); got != tt.want || !slices.Equal(c.Withheld, tt.withheld) {
			t.Errorf("%s: got %s and %v withheld, want %s and %v", tt.url, got, c.Withheld, tt.want, tt.withheld)
		}
	}
	// Also where a URL is the value of a header: http.Client makes a Referer of
	// the URL that led to a redirect.
	for name, value := range map[string]string{
		"Referer": "https://api.example.com/?access_token=sesame", "X-Original-Url": "/a?b=1&sig=sesame", "Destination": "https://user:sesame@dav.example/",
	} {
		c := parked(t, l, host, http.Header{name: {"kept", value}})
		if !slices.Equal(c.Withheld, []string{name}) || len(c.Request.Header) != 0 {
			t.Errorf("%s: got %v and %v withheld, want it withheld", name, c.Request.Header, c.Withheld)
		}
	}
	noSesame(t, s)
}

func TestRedisLot_WithholdIsAnOption(t *testing.T) {
	s := redistest.Start(t)
	header := http.Header{"X-Tenant": {"t"}, "X-Vault-Token": {"v"}, "Authorization": {"a"}, "Cookie": {"c"}, "Proxy-Authorization": {"p"}, "X-Other": {"o"}}
	always := []string{"Authorization", "Cookie", "Proxy-Authorization"}
	for _, tt := range []struct {
		parts []string
		want  []string
	}{
		{[]string{}, always},
		{[]string{"TENANT"}, append([]string{"X-Tenant"}, always...)},
		{[]string{"x_tenant"}, append([]string{"X-Tenant"}, always...)},
		{append(DefaultWithhold(), "tenant"), append([]string{"X-Tenant", "X-Vault-Token"}, always...)},
		{nil, append([]string{"X-Vault-Token"}, always...)},
	} {
		l := redisLot(t, s, RedisLotOptions{Withhold: tt.parts})
		slices.Sort(tt.want)
		if c := parked(t, l, "https://api.example.com/", header.Clone()); !slices.Equal(c.Withheld, tt.want) {
			t.Errorf("%v: got %v withheld, want %v", tt.parts, c.Withheld, tt.want)
		}
	}
	DefaultWithhold()[0] = "changed"
	if DefaultWithhold()[0] == "changed" {
		t.Error("a caller has changed the list by default")
	}
}

// A request is not sent without what was withheld: without its key=7 a DELETE may
// delete something else.
func TestPrepare_MustPutBackAllThatWasWithheld(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*http.Request)
		want    string // in the failure; "" for a success
	}{
		"nothing":       {func(*http.Request) {}, "[?key Authorization X-Vault-Token]"},
		"headers alone": {func(req *http.Request) { req.Header.Set("Authorization", "a"); req.Header.Set("X-Vault-Token", "v") }, "[?key]"},
		"all": {func(req *http.Request) {
			req.SetBasicAuth("a", "b")
			req.Header.Set("X-Vault-Token", "v")
			req.URL.RawQuery += "&key=7"
		}, ""},
		"user info, another spelling, and a header that is not needed": {func(req *http.Request) {
			req.URL.User = url.UserPassword("a", "b")
			req.Header["x-vault-token"] = nil
			req.URL.RawQuery = "key"
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, []int{200})
			lot := redisLot(t, redistest.Start(t), RedisLotOptions{})
			p := parkable(t, "DELETE", "https://api.example.com/things?a=1&key=7", nil)
			p.Request.Header = http.Header{"Authorization": {"a"}, "X-Vault-Token": {"v"}}
			r.Lot, r.id = lot, park(t, lot, p)
			r.Prepare = func(req *http.Request) error { tt.prepare(req); return nil }
			got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
			if tt.want == "" {
				if got.Result != "success" || r.server.sends() != 1 {
					t.Errorf("got %+v, want a success", got)
				}
				return
			}
			want := "nothing was sent: " + tt.want + " was not kept with the request, and Prepare did not put it back"
			if got.Error != want || r.server.sends() != 0 || *got.NextAttemptNumber != 4 {
				t.Errorf("got %+v, want %q and no send", got, want)
			}
		})
	}
}
