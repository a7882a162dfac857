package vendors_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

// readers are the classifiers that read bodies.
var readers = map[string]vendors.Classifier{
	"AWS":        vendors.AWS(nil),
	"Discord":    vendors.Discord(nil),
	"Gemini":     vendors.Gemini(nil),
	"GitHub":     vendors.GitHub(nil),
	"OpenAI":     vendors.OpenAI(nil),
	"Salesforce": vendors.Salesforce(nil),
	"Shopify":    vendors.Shopify(nil),
	"all":        everyone(nil),
}

func everyone(next vendors.Classifier) vendors.Classifier {
	for _, wrap := range []func(vendors.Classifier) vendors.Classifier{
		vendors.AWS, vendors.Discord, vendors.Gemini, vendors.GitHub, vendors.Kubernetes,
		vendors.OpenAI, vendors.Salesforce, vendors.Shopify,
	} {
		next = wrap(next)
	}
	return next
}

// body is a response body that counts what happens to it.
type body struct {
	io.Reader
	read   int
	closed int
}

var errClosed = errors.New("read on closed body")

func (b *body) Read(p []byte) (int, error) {
	if b.closed > 0 {
		return 0, errClosed
	}
	n, err := b.Reader.Read(p)
	b.read += n
	return n, err
}

func (b *body) Close() error { b.closed++; return nil }

// answered is a response to a request.
func answered(t testing.TB, method, url string, status int, header http.Header, r io.Reader) (*http.Request, *http.Response, *body) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	b := &body{Reader: r}
	return req, &http.Response{StatusCode: status, Header: header, ContentLength: -1, Body: b, Request: req}, b
}

const graphQL = "https://api.example/graphql"

var asJSON = http.Header{"Content-Type": {"application/json; charset=utf-8"}}

func TestPeek_CallerReadsAndClosesWhatTheServerSent(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, status := range []int{200, 403, 429} {
		for _, length := range []int{0, 1, 511, 512, 513, 16383, 16384, 16385, 100_000} {
			want := strings.Repeat("x", length)
			for ending, open := range map[string]func() (io.Reader, error){
				"whole":     func() (io.Reader, error) { return strings.NewReader(want), nil },
				"in pieces": func() (io.Reader, error) { return iotest.HalfReader(strings.NewReader(want)), nil },
				"broken": func() (io.Reader, error) {
					return iotest.DataErrReader(&once{strings.NewReader(want), broken}), broken
				},
			} {
				for name, classify := range readers {
					r, wantErr := open()
					req, resp, b := answered(t, http.MethodPost, graphQL, status, asJSON, r)
					classify(req, resp, nil)
					if b.read > 16384 || b.closed != 0 {
						t.Errorf("%s, %d: read %d bytes and closed %d times, want at most 16 KiB and open", name, status, b.read, b.closed)
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if string(got) != want || err != wantErr || b.closed != 1 {
						t.Errorf("%s, %d, %d bytes, %s: got %d bytes, %v, closed %d times; want all, %v, once",
							name, status, length, ending, len(got), err, b.closed, wantErr)
					}
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

func TestPeek_ClosedBodyIsNotReadFromMemory(t *testing.T) {
	t.Parallel()
	req, resp, _ := answered(t, http.MethodGet, graphQL, 429, nil, strings.NewReader("{}"))
	vendors.OpenAI(nil)(req, resp, nil)
	resp.Body.Close()
	if n, err := resp.Body.Read(make([]byte, 8)); n != 0 || err != errClosed {
		t.Errorf("got %d bytes, %v; want the error of the body below", n, err)
	}
}

// net/http allows Close while a Read is under way.
func TestPeek_CloseDuringReadIsNoRace(t *testing.T) {
	t.Parallel()
	pr, pw := io.Pipe()
	defer pw.Close()
	go pw.Write([]byte(`{"data":{`))
	req, resp, _ := answered(t, http.MethodPost, graphQL, 200, asJSON, nil)
	resp.Body = pr
	vendors.Shopify(nil)(req, resp, nil)
	var group sync.WaitGroup
	group.Go(func() { io.Copy(io.Discard, resp.Body) })
	resp.Body.Close()
	group.Wait()
}

// These bodies are not looked at: a stream may send its first byte much later, and
// what is compressed says nothing.
func TestPeek_BodyIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, url string
		status    int
		header    http.Header
		length    int64
	}{
		{"success", "https://api.example/v1/items", 200, asJSON, -1},
		{"GraphQL, no JSON", graphQL, 200, http.Header{"Content-Type": {"multipart/mixed; boundary=x"}}, -1},
		{"GraphQL, stream", graphQL, 200, http.Header{"Content-Type": {"text/event-stream"}}, -1},
		{"GraphQL, known to be long", graphQL, 200, asJSON, 16385},
		{"GraphQL, compressed", graphQL, 200, http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, -1},
		{"failure, compressed", graphQL, 429, http.Header{"Content-Encoding": {"br"}}, -1},
		{"failure, stream", graphQL, 429, http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}, -1},
	} {
		for name, classify := range readers {
			req, resp, b := answered(t, http.MethodPost, test.url, test.status, test.header, iotest.ErrReader(errors.New("read")))
			resp.ContentLength = test.length
			want := holdoff.DefaultClassify(req, resp, nil)
			if got := classify(req, resp, nil); got != want || resp.Body != b {
				t.Errorf("%s, %s: got %+v, want %+v and the body as it was", name, test.name, got, want)
			}
		}
	}
}

// A query whose data takes long is not held up: the first bytes say that it is no
// refusal.
func TestPeek_GraphQLDataIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for _, begin := range []string{`{"data":{"a":`, "{\n  \"data\" : {\n"} {
		for name, classify := range readers {
			pr, pw := io.Pipe()
			judged := make(chan struct{})
			go func() {
				pw.Write([]byte(begin))
				<-judged // no more comes before
				pw.Close()
			}()
			req, resp, _ := answered(t, http.MethodPost, graphQL, 200, asJSON, nil)
			resp.Body = pr
			if v := classify(req, resp, nil); v.Lesson != holdoff.Good {
				t.Errorf("%s: got %+v, want good", name, v)
			}
			close(judged)
			if got, err := io.ReadAll(resp.Body); string(got) != begin || err != nil {
				t.Errorf("%s: got %q, %v; want %q", name, got, err, begin)
			}
		}
	}
}

func TestClassifiers_LeaveTheRestToNext(t *testing.T) {
	t.Parallel()
	want := holdoff.Verdict{Retry: true, Lesson: holdoff.Failed, Reason: "next"}
	classify := everyone(func(*http.Request, *http.Response, error) holdoff.Verdict { return want })
	for _, status := range []int{0, 200, 400, 403, 404, 429, 500, 503} {
		req, resp, _ := answered(t, http.MethodGet, graphQL, status, asJSON, strings.NewReader(`{"error":{"message":"no"}}`))
		var err error
		if status == 0 {
			resp, err = nil, io.EOF
		}
		if got := classify(req, resp, err); got != want {
			t.Errorf("%d: got %+v, want %+v", status, got, want)
		}
	}
}

// Where one vendor's refusal needs no look at the body, the next one's look must not
// lose it.
func TestClassifiers_BodyIsIntactAfterANestedLook(t *testing.T) {
	t.Parallel()
	req, resp, _ := answered(t, http.MethodPost, graphQL, 400,
		http.Header{"X-Amzn-Errortype": {"ThrottlingException"}}, strings.NewReader("body"))
	if v := vendors.AWS(vendors.OpenAI(nil))(req, resp, nil); v.Reason != "throttled by AWS" {
		t.Errorf("got %+v, want AWS's refusal", v)
	}
	if got, err := io.ReadAll(resp.Body); string(got) != "body" || err != nil {
		t.Errorf("got %q, %v; want the body", got, err)
	}
}

// A refusal in the body does not overrule what the server says outright.
func TestClassifiers_ServerSaysNotToRetry(t *testing.T) {
	t.Parallel()
	req, resp, _ := answered(t, http.MethodGet, graphQL, 429,
		http.Header{"X-Should-Retry": {"false"}}, strings.NewReader(`{"retry_after":1}`))
	want := "server says not to retry"
	if v := vendors.Discord(nil)(req, resp, nil); v.Retry || v.Reason != want || v.Lesson != holdoff.Refused {
		t.Errorf("got %+v, want no retry, because the %s", v, want)
	}
}
