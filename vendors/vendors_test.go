package vendors_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

// fixed is a Base that always answers the same, and counts closed bodies and
// calls of CloseIdleConnections.
type fixed struct {
	status       int
	header       http.Header
	body         io.Reader
	closed, idle int
}

func (f *fixed) RoundTrip(req *http.Request) (*http.Response, error) {
	header := f.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: f.status, Header: header, Body: struct {
		io.Reader
		closer
	}{f.body, func() { f.closed++ }}, Request: req}, nil
}

func (f *fixed) CloseIdleConnections() { f.idle++ }

type closer func()

func (c closer) Close() error { c(); return nil }

// wrappers are all Bases of the package, around base.
func wrappers(base http.RoundTripper) map[string]http.RoundTripper {
	return map[string]http.RoundTripper{
		"AWS":    &vendors.AWS{Base: base},
		"GitHub": &vendors.GitHub{Base: base},
	}
}

func get(t *testing.T, rt http.RoundTripper) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// However long the body is, in whatever pieces it comes and however it ends:
// the caller reads and closes what the server sent.
func TestBodyIsHandedOnAsItWas(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, length := range []int{0, 1, 4095, 4096, 4097, 100_000} {
		want := strings.Repeat("x", length)
		for ending, body := range map[string]func() (io.Reader, error){
			"whole":     func() (io.Reader, error) { return strings.NewReader(want), nil },
			"in pieces": func() (io.Reader, error) { return iotest.HalfReader(strings.NewReader(want)), nil },
			"broken": func() (io.Reader, error) {
				// The error is said once, and then EOF.
				return iotest.DataErrReader(&once{strings.NewReader(want), broken}), broken
			},
		} {
			r, wantErr := body()
			base := &fixed{status: http.StatusForbidden, body: r}
			for name, rt := range wrappers(base) {
				base.body, _ = body()
				base.closed = 0
				resp := get(t, rt)
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(got) != want || err != wantErr || base.closed != 1 {
					t.Errorf("%s, %d bytes, %s: got %d bytes, %v, closed %d times; want all, %v, once",
						name, length, ending, len(got), err, base.closed, wantErr)
				}
			}
		}
	}
}

// once is a reader that ends with err, and says so only once.
type once struct {
	io.Reader
	err error
}

func (o *once) Read(p []byte) (int, error) {
	n, err := o.Reader.Read(p)
	if err == io.EOF && o.err != nil {
		err, o.err = o.err, nil
	}
	return n, err
}

// A success is not looked at: it may be a stream whose first byte is far off.
func TestSuccessIsLeftAlone(t *testing.T) {
	t.Parallel()
	base := &fixed{status: http.StatusOK, body: iotest.ErrReader(errors.New("read"))}
	for name, rt := range wrappers(base) {
		resp := get(t, rt)
		if len(resp.Header) != 0 {
			t.Errorf("%s: got headers %v, want none", name, resp.Header)
		}
		if _, err := resp.Body.Read(nil); err == nil || err.Error() != "read" {
			t.Errorf("%s: got %v, want the server's own body", name, err)
		}
	}
}

// What a holdoff.Transport above and a pool below need to find each other.
func TestWrappersAreTransparent(t *testing.T) {
	t.Parallel()
	base := &fixed{}
	for name, rt := range wrappers(base) {
		base.idle = 0
		(&holdoff.Transport{Base: rt}).CloseIdleConnections()
		if base.idle != 1 {
			t.Errorf("%s: CloseIdleConnections got to the base %d times, want once", name, base.idle)
		}
		if got := rt.(interface{ WrappedRoundTripper() http.RoundTripper }).WrappedRoundTripper(); got != base {
			t.Errorf("%s: WrappedRoundTripper: got %v, want the base", name, got)
		}
	}
	shared := new(holdoff.Transport).WrappedRoundTripper()
	for name, rt := range map[string]http.RoundTripper{"AWS": &vendors.AWS{}, "GitHub": &vendors.GitHub{}} {
		if got := rt.(interface{ WrappedRoundTripper() http.RoundTripper }).WrappedRoundTripper(); got != shared {
			t.Errorf("%s without a Base: got %v, want what all Transports share", name, got)
		}
	}
}

func TestErrorsOfBaseAreHandedOn(t *testing.T) {
	t.Parallel()
	want := errors.New("refused")
	failing := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, want })
	for name, rt := range wrappers(failing) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := rt.RoundTrip(req); resp != nil || err != want {
			t.Errorf("%s: got %v, %v; want nil and Base's error", name, resp, err)
		}
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
