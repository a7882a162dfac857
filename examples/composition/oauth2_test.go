package composition

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/go-holdoff/holdoff"
)

// oauth2 outside: a request has one token for all its attempts. The token endpoint
// is asked through the same Transport, under a key of its own.
func Example_oauth2Outside() {
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Println("a token is asked for")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"secret","expires_in":3600}`)
	}))
	defer tokens.Close()
	server := flaky(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("served with", r.Header.Get("Authorization"))
	})
	defer server.Close()

	transport := &holdoff.Transport{}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: transport})
	config := clientcredentials.Config{ClientID: "id", ClientSecret: "s", TokenURL: tokens.URL, AuthStyle: oauth2.AuthStyleInHeader}
	// Do not use a token that expires before the longest wait ends.
	source := oauth2.ReuseTokenSourceWithExpiry(nil, tokenFunc(func() (*oauth2.Token, error) { return config.Token(ctx) }), time.Minute)
	client := &http.Client{Transport: &oauth2.Transport{Source: source, Base: transport}}

	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	// Output:
	// a token is asked for
	// served with Bearer secret
}

type tokenFunc func() (*oauth2.Token, error)

func (f tokenFunc) Token() (*oauth2.Token, error) { return f() }

// Inside, a token endpoint that can't be reached looks like an API that can't be
// reached, and the API is held for it.
func TestTokenEndpointDown(t *testing.T) {
	down := tokenFunc(func() (*oauth2.Token, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	})
	for name, wantHeld := range map[string]bool{"outside": false, "inside": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &api{answer: func(int, *http.Request) *http.Response { return respond(200) }}
				transport := &holdoff.Transport{Base: host}
				var rt http.RoundTripper = &oauth2.Transport{Source: down, Base: transport}
				if name == "inside" {
					transport.Base = &oauth2.Transport{Source: down, Base: host}
					rt = transport
				}
				for range 20 {
					get(t.Context(), rt, "https://api.example.com/")
				}
				blamed := false
				for state := range transport.Keys() {
					blamed = blamed || state.Phase == holdoff.Held
				}
				if blamed != wantHeld {
					t.Errorf("the API is held: %v, want %v", blamed, wantHeld)
				}
			})
		})
	}
}

// A token that is good when the request begins may not be when a hold is over.
// Asking for one that outlives MaxWait helps.
func TestTokenAcrossAHold(t *testing.T) {
	const life, asked = 45 * time.Second, 30 * time.Second // of a token; of the hold
	for name, tt := range map[string]struct {
		early time.Duration // before its end a token is not used any more
		want  int
	}{
		"good for long enough": {40 * time.Second, 200},
		"as oauth2 does it":    {10 * time.Second, 401},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := oauth2.ReuseTokenSourceWithExpiry(nil, tokenFunc(func() (*oauth2.Token, error) {
					expiry := time.Now().Add(life)
					return &oauth2.Token{AccessToken: expiry.Format(time.RFC3339), Expiry: expiry}, nil
				}), tt.early)
				host := &api{answer: func(n int, req *http.Request) *http.Response {
					var expiry string
					fmt.Sscanf(req.Header.Get("Authorization"), "Bearer %s", &expiry)
					switch at, err := time.Parse(time.RFC3339, expiry); {
					case err != nil || time.Now().After(at):
						return respond(401)
					case n == 2:
						return respond(429, fmt.Sprintf("Retry-After: %d", int(asked.Seconds())))
					}
					return respond(200)
				}}
				rt := &oauth2.Transport{Source: source, Base: &holdoff.Transport{Base: host, MaxWait: asked + 10*time.Second}}
				wantStatus(t, rt, "https://api.example.com/", 200) // the token begins its life
				time.Sleep(20 * time.Second)
				wantStatus(t, rt, "https://api.example.com/", tt.want)
			})
		})
	}
}
