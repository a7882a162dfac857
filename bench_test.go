package holdoff_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

// readBuffers are what stubBase reads bodies into: of 32 KiB, as io.Copy and
// net/http's own writer use.
var readBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// stubBase answers each request with one and the same response. It reads the
// request's body to its end, as sending it would, but does nothing with what it
// reads. "bare" is a request sent through stubBase alone: the least that any
// transport does, hundreds of times less than a request over a socket. So the
// difference to bare is what Transport costs, and the ratio is no ratio that a
// program would see.
type stubBase struct{ resp *http.Response }

func (s stubBase) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		buf := readBuffers.Get().(*[32 << 10]byte)
		for {
			if _, err := req.Body.Read(buf[:]); err != nil {
				break
			}
		}
		readBuffers.Put(buf)
		req.Body.Close()
	}
	return s.resp, nil
}

func newStubBase() stubBase {
	return stubBase{&http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}}
}

// benchmark runs send, in series and in parallel. newSend makes what a goroutine
// of its own needs.
func benchmark(b *testing.B, newSend func() func() error) {
	b.Run("serial", func(b *testing.B) {
		send := newSend()
		b.ReportAllocs()
		for b.Loop() {
			if err := send(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			send := newSend()
			for pb.Next() {
				if err := send(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// compare benchmarks the same requests bare and through a Transport.
func compare(b *testing.B, newSend func(http.RoundTripper) func() error) {
	for _, side := range []struct {
		name string
		rt   http.RoundTripper
	}{
		{"bare", newStubBase()},
		{"Transport", &holdoff.Transport{Base: newStubBase()}},
	} {
		b.Run(side.name, func(b *testing.B) {
			benchmark(b, func() func() error { return newSend(side.rt) })
		})
	}
}

// A healthy host: what holdoff costs where there is nothing for it to do.
func BenchmarkGet(b *testing.B) {
	compare(b, func(rt http.RoundTripper) func() error {
		req := newRequest(b, http.MethodGet, "https://api.example.com/v1/things", "")
		return func() error {
			_, err := rt.RoundTrip(req)
			return err
		}
	})
}

// An upload with GetBody, of a body that a caller made anew for each request.
func BenchmarkPut64KiB(b *testing.B) {
	payload := make([]byte, 64<<10)
	compare(b, func(rt http.RoundTripper) func() error {
		req := newRequest(b, http.MethodPut, "https://api.example.com/v1/things", "")
		req.ContentLength = int64(len(payload))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(payload)), nil }
		return func() error {
			req.Body, _ = req.GetBody()
			_, err := rt.RoundTrip(req)
			return err
		}
	})
}

// The same over a real connection, where a copy of the body would show.
func BenchmarkPut64KiBLoopback(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	b.Cleanup(srv.Close)
	base := &http.Transport{MaxIdleConnsPerHost: 16}
	b.Cleanup(base.CloseIdleConnections)
	payload := make([]byte, 64<<10)
	for _, side := range []struct {
		name string
		rt   http.RoundTripper
	}{{"bare", base}, {"Transport", &holdoff.Transport{Base: base}}} {
		b.Run(side.name, func(b *testing.B) {
			benchmark(b, func() func() error {
				req := newRequest(b, http.MethodPut, srv.URL, "")
				req.ContentLength = int64(len(payload))
				req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(payload)), nil }
				return func() error {
					req.Body, _ = req.GetBody()
					resp, err := side.rt.RoundTrip(req)
					if err != nil {
						return err
					}
					io.Copy(io.Discard, resp.Body)
					return resp.Body.Close()
				}
			})
		})
	}
}

// Hosts in turn miss the shortcut to the host that was asked last.
func BenchmarkHostsInTurn(b *testing.B) {
	const hosts = 16
	compare(b, func(rt http.RoundTripper) func() error {
		var reqs [hosts]*http.Request
		for i := range reqs {
			reqs[i] = newRequest(b, http.MethodGet, fmt.Sprintf("https://api-%d.example.com/v1/things", i), "")
		}
		var n int
		return func() error {
			n++
			_, err := rt.RoundTrip(reqs[n%hosts])
			return err
		}
	})
}

// A held host, and requests that may not wait: what it costs to say no.
func BenchmarkHeldFailFast(b *testing.B) {
	base := script(with(http.StatusTooManyRequests, "Retry-After: 86400"))
	rt := &holdoff.Transport{Base: base, MaxWait: -1, MaxHold: 24 * time.Hour}
	if resp, err := rt.RoundTrip(newRequest(b, http.MethodGet, "https://api.example.com/v1/things", "")); err != nil || resp.StatusCode != http.StatusTooManyRequests {
		b.Fatalf("got %v, %v, want the refusal that holds the key", resp, err)
	}
	benchmark(b, func() func() error {
		req := newRequest(b, http.MethodGet, "https://api.example.com/v1/things", "")
		return func() error {
			_, err := rt.RoundTrip(req)
			if !is[*holdoff.HeldError](err) {
				return fmt.Errorf("got %v, want a *HeldError", err)
			}
			return nil
		}
	})
	if got := base.sends(); got != 1 {
		b.Errorf("got %d sends, want 1: the key was held", got)
	}
}
