package holdoff_test

import (
	"net/http"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// These tests hold the texts of classify_text.go to net/http. That of a connection
// which was idle, and those of proxies, are held by TestNeverLeft_…

// errorOf is what a GET through base alone gets.
func errorOf(t *testing.T, base *http.Transport, trace *httptrace.ClientTrace) string {
	t.Helper()
	defer base.CloseIdleConnections()
	req := newRequest(t, "GET", "http://a.example/", "")
	resp, err := base.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err == nil {
		resp.Body.Close()
		return "no error"
	}
	return err.Error()
}

func TestText_UnansweredPingIsNamedAsNetHTTPNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := rawH2(func(uint32, func([]byte), func()) {})
		base.HTTP2 = &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: time.Second}
		if got := errorOf(t, base, &httptrace.ClientTrace{}); got != holdoff.LostTexts[0] {
			t.Errorf("net/http says %q, want %q", got, holdoff.LostTexts[0])
		}
	})
}

func TestText_ConnectionClosedBeforeItsFirstStreamIsNamedAsNetHTTPNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := rawH2(func(uint32, func([]byte), func()) {})
		hangUp := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			info.Conn.Close()
			synctest.Wait() // until net/http has seen it
		}}
		if got := errorOf(t, base, hangUp); got != holdoff.LostTexts[1] {
			t.Errorf("net/http says %q, want %q", got, holdoff.LostTexts[1])
		}
	})
}

func TestText_GoAwayBeforeTheFirstStreamIsNamedAsNetHTTPNamesIt(t *testing.T) {
	const goAwayFrame = 7
	for code, name := range map[byte]string{0x1: "PROTOCOL_ERROR", 0x6: "FRAME_SIZE_ERROR", 0x9: "COMPRESSION_ERROR", 0xb: "ENHANCE_YOUR_CALM", 0xc: "INADEQUATE_SECURITY", 0xd: "HTTP_1_1_REQUIRED"} {
		synctest.Test(t, func(t *testing.T) {
			base := rawH2(func(_ uint32, send func([]byte), _ func()) { send(frame(goAwayFrame, 0, 0, 0, 0, 0, 0, 0, 0, code)) })
			if got := errorOf(t, base, &httptrace.ClientTrace{}); got != holdoff.GoAwayFirstText+name {
				t.Errorf("net/http says %q, want %q", got, holdoff.GoAwayFirstText+name)
			}
		})
	}
}

// What the texts make of a request.
func TestText_LostHTTP2ConnectionIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := rawH2(func(uint32, func([]byte), func()) {})
		base.HTTP2 = &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: time.Second}
		for method, sends := range map[string]int{"GET": 2, "PUT": 2, "DELETE": 2, "POST": 1} {
			meet(t, base, method, "http://a.example/", sends, true, false, holdoff.Unreachable)
		}
	})
}
