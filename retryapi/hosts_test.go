package retryapi

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// ask sends a request with that Host over a real connection.
func ask(t *testing.T, server *httptest.Server, method, path, host, body string) *httptest.ResponseRecorder {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	must(t, err)
	req.Host = host
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", "http://"+host) // as a browser sends it: the page is of that name
	}
	resp, err := server.Client().Do(req)
	must(t, err)
	defer resp.Body.Close()
	rec := httptest.NewRecorder()
	rec.Code = resp.StatusCode
	maps.Copy(rec.Header(), resp.Header)
	_, err = io.Copy(rec.Body, resp.Body)
	must(t, err)
	return rec
}

// A page whose name was pointed at this address reaches nothing.
func TestHandler_ReboundNameOnLoopbackReachesNothing(t *testing.T) {
	r := newRig(t, []int{200})
	server := httptest.NewServer(r)
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	must(t, err)
	for _, host := range []string{
		"evil.example", "evil.example:" + port, "127.0.0.1.evil.example:" + port, "localhost.evil.example", "evillocalhost",
		"192.0.2.1:" + port, "10.0.0.1", "[2001:db8::1]:" + port, "0.0.0.0:" + port, "127.0.0.1@evil.example",
	} {
		for _, path := range []string{"/state", "/", "/events", "/page.js", "/page.css", "/nothing"} {
			refused(t, ask(t, server, http.MethodGet, path, host, ""), http.StatusForbidden, "")
		}
		rec := ask(t, server, http.MethodPost, "/retry", host, callBody(r.id, 4, 0, 0))
		if p := refused(t, rec, http.StatusForbidden, ""); !strings.Contains(p.Detail, "Handler.Hosts") {
			t.Errorf("got %q, want what to set", p.Detail)
		}
	}
	r.unsent(t, 0)
	for _, host := range []string{
		"localhost:" + port, "LocalHost", "localhost.", "admin.localhost:" + port, "127.0.0.1:" + port, "127.0.0.1", "127.8.9.10", "[::1]:" + port, "[::1]",
	} {
		if rec := ask(t, server, http.MethodGet, "/state", host, ""); rec.Code != http.StatusOK {
			t.Errorf("%s: got %d, want 200: it is a name of this machine", host, rec.Code)
		}
	}
	if got := retried(t, ask(t, server, http.MethodPost, "/retry", "localhost:"+port, callBody(r.id, 4, 0, 0))); got.Result != "success" {
		t.Errorf("got %+v, want a success", got)
	}
}

func TestHandler_ListedHostsAreServedAlone(t *testing.T) {
	r := newRig(t, []int{200})
	r.Hosts = []string{"admin.example.com", "10.1.2.3", "2001:db8::1", "[2001:db8::2]"}
	server := httptest.NewServer(r)
	defer server.Close()
	for host, want := range map[string]int{
		"admin.example.com": 200, "Admin.Example.com.:8443": 200, "10.1.2.3:80": 200, "[2001:db8::2]:80": 200,
		"localhost": 403, "127.0.0.1": 403, "evil.example": 403, "x.admin.example.com": 403, "admin.example.com.evil.example": 403,
	} {
		if rec := ask(t, server, http.MethodGet, "/state", host, ""); rec.Code != want {
			t.Errorf("%s over loopback: got %d, want %d", host, rec.Code, want)
		}
		req := httptest.NewRequest(http.MethodGet, "/state", nil) // not over loopback
		req.Host = host
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, req)
		if rec.Code != want {
			t.Errorf("%s: got %d, want %d", host, rec.Code, want)
		}
	}
	r.Hosts = []string{"*"}
	if rec := ask(t, server, http.MethodGet, "/state", "any.example", ""); rec.Code != 200 {
		t.Errorf("got %d where all hosts are allowed, want 200", rec.Code)
	}
}

func TestHandler_AnyHostIsServedWhereTheConnectionIsNotLoopback(t *testing.T) {
	r := newRig(t, []int{200})
	for name, local := range map[string]net.Addr{
		"a network": &net.TCPAddr{IP: net.IPv4(10, 0, 0, 5), Port: 80}, "a socket": &net.UnixAddr{Name: "/run/x", Net: "unix"}, "unknown": nil,
	} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			r.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), http.LocalAddrContextKey, local)))
		}))
		server.Start()
		if rec := ask(t, server, http.MethodGet, "/state", "admin.example.com", ""); rec.Code != http.StatusOK {
			t.Errorf("%s: got %d, want 200", name, rec.Code)
		}
		server.Close()
	}
}

// A stream takes one of few places, which a page of another site must not use up.
func TestEvents_PagesOfOtherOriginsGetNone(t *testing.T) {
	r := newRig(t, []int{200})
	for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		req := httptest.NewRequest(http.MethodGet, "http://admin.example.com/events", nil)
		req.Header.Set(header[0], header[1])
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, req)
		refused(t, rec, http.StatusForbidden, "")
	}
}
