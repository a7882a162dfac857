package holdoff_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-holdoff/holdoff"
)

// TestMain runs the tests, or one replica of a fleet where a test has started
// this binary once more: see startReplica.
func TestMain(m *testing.M) {
	if config := os.Getenv(replicaEnv); config != "" {
		runReplica(config)
		return
	}
	goleak.VerifyTestMain(m)
}

// oneScope is a Route for tests of what happens in one scope: whatever a request meets
// holds its whole key.
func oneScope(*http.Request) string { return "" }

// baseFunc is a Base made of a function. It closes the request's body, as a
// RoundTripper must.
type baseFunc func(*http.Request) (*http.Response, error)

func (f baseFunc) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := f(req)
	if req.Body != nil {
		req.Body.Close()
	}
	return resp, err
}

// answer makes a response with a status, a small body and headers given as
// "Name: value". Several lines of one name are kept.
func answer(status int, headers ...string) *http.Response {
	resp := &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader("body")), ContentLength: 4,
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		resp.Header.Add(name, strings.TrimSpace(value))
	}
	return resp
}

// scripted is a Base that answers by a list, then repeats its last entry. It
// notes when it was asked, and what attempt number it saw.
type scripted struct {
	steps []func(*http.Request) (*http.Response, error)

	mu       sync.Mutex
	times    []time.Time
	attempts []int
	bodies   []string
}

// script makes steps of status codes (int), errors, responses' functions.
func script(steps ...any) *scripted {
	s := &scripted{}
	for _, step := range steps {
		switch v := step.(type) {
		case int:
			s.steps = append(s.steps, func(*http.Request) (*http.Response, error) { return answer(v), nil })
		case error:
			s.steps = append(s.steps, func(*http.Request) (*http.Response, error) { return nil, v })
		case func() *http.Response:
			s.steps = append(s.steps, func(*http.Request) (*http.Response, error) { return v(), nil })
		case func(*http.Request) (*http.Response, error):
			s.steps = append(s.steps, v)
		default:
			panic("script: int, error, func() *http.Response or a RoundTrip function")
		}
	}
	return s
}

// with is a step for script: a status with headers.
func with(status int, headers ...string) func() *http.Response {
	return func() *http.Response { return answer(status, headers...) }
}

func (s *scripted) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	n := len(s.times)
	s.times = append(s.times, time.Now())
	s.attempts = append(s.attempts, holdoff.Attempt(req.Context()))
	s.mu.Unlock()
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.bodies = append(s.bodies, string(b))
		s.mu.Unlock()
	}
	return s.steps[min(n, len(s.steps)-1)](req)
}

func (s *scripted) sends() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.times)
}

// newRequest makes a request of the test's context, with a body if it isn't "".
func newRequest(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, r)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// closeCounter is a body that counts what is done to it.
type closeCounter struct {
	io.Reader
	mu     sync.Mutex
	closes int
}

func (c *closeCounter) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closes++
	return nil
}

func (c *closeCounter) closed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closes
}

// is reports whether err is an E, or wraps one.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// isTimeout reports whether err calls itself a timeout.
func isTimeout(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && e.Timeout()
}

// keyAt returns how a key stands for tr: healthy, where nothing is known of it.
func keyAt(tr *holdoff.Transport, key string) holdoff.KeyState {
	for s := range tr.Keys() {
		if s.Key == key {
			return s
		}
	}
	return holdoff.KeyState{Key: key}
}
