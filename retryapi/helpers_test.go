package retryapi

import (
	"bytes"
	"cmp"
	"context"
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
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// TestMain runs the tests, or one caller of several where a test has started
// this binary once more: see TestOneSendAmongProcesses.
func TestMain(m *testing.M) {
	if config := os.Getenv(callerEnv); config != "" {
		runCaller(config)
		return
	}
	goleak.VerifyTestMain(m)
}

// baseFunc is a Base made of a function.
type baseFunc func(*http.Request) (*http.Response, error)

func (f baseFunc) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := f(req)
	if req.Body != nil {
		req.Body.Close()
	}
	return resp, err
}

func response(status int, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: io.NopCloser(strings.NewReader("answer"))}
}

// server is a Base that answers by a list of status codes, then with its last
// one, and notes what it was sent.
type server struct {
	mu     sync.Mutex
	codes  []int
	header []string
	seen   []*http.Request
	bodies []string
	times  []time.Time
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	code := s.codes[min(len(s.seen), len(s.codes)-1)]
	s.seen, s.bodies, s.times = append(s.seen, req), append(s.bodies, string(body)), append(s.times, time.Now())
	if code == 0 {
		return nil, errors.New(`Put "https://user:sesame@api.example.com/v1?token=sesame": the line is cut`)
	}
	return response(code, s.header...), nil
}

func (s *server) sends() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// awayLot is a Lot whose store can't be reached.
type awayLot struct{ Lot }

var errAway = errors.New("dial tcp 192.0.2.1:6379: sesame")

func (awayLot) Claim(context.Context, string, int, time.Duration) (*Claim, error) {
	return nil, errAway
}
func (awayLot) List(context.Context, int) ([]Summary, int, error) { return nil, 0, errAway }

func memoryLot(t testing.TB, b Bounds) *MemoryLot {
	t.Helper()
	l, err := NewMemoryLot(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func redisLot(t testing.TB, s *redistest.Server, opts RedisLotOptions) *RedisLot {
	t.Helper()
	// A machine at its limits is not what is tested.
	opts.Timeout = cmp.Or(opts.Timeout, 10*time.Second)
	l, err := NewRedisLot(s.Client(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// parkableHead is what a PUT of https://api.example.com/ by parkable counts of
// Bounds.Bytes besides its body: 3 for the method, 24 for the URL, 15 for the Host
// and 23 for the key.
const parkableHead = 65

// parkable makes what a Transport would park. The body is nil for none.
func parkable(t testing.TB, method, url string, body []byte) holdoff.Parked {
	t.Helper()
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequest(method, url, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Body = nil
	return holdoff.Parked{Request: req, Key: "https://api.example.com", Attempts: 4, Ended: holdoff.EndAttempts, Status: 503}
}

func park(t testing.TB, l Lot, p holdoff.Parked) string {
	t.Helper()
	id, err := l.Park(t.Context(), p)
	if err != nil {
		t.Fatalf("got %v, want it parked", err)
	}
	return id
}

// bodyOf reads a request's body.
func bodyOf(t testing.TB, req *http.Request) string {
	t.Helper()
	if req.Body == nil {
		return ""
	}
	b, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// eventually waits until what is so, for as long as a slow machine may need.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if so() {
			return
		}
	}
	t.Fatalf("it does not come about: %s", what)
}
