package holdoff_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// reply makes a response with a status and headers given as "Name: value".
func reply(status int, headers ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		resp.Header.Add(name, value)
	}
	return resp
}

// verdict is what the default classifier makes of a response.
func verdict(method string, status int, headers ...string) holdoff.Verdict {
	return holdoff.DefaultClassify(&http.Request{Method: method, Header: http.Header{}}, reply(status, headers...), nil)
}

// serverFunc is a Base that is one function of the request.
type serverFunc func(*http.Request) *http.Response

func (f serverFunc) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	return f(req), nil
}

func send(t *testing.T, tr http.RoundTripper, method, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader("order")), 5
	}
	resp, err := tr.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

// A server bans a client for longer than it first said. The probe learns of it, and
// the 650 requests of the next 65 s are not sent.
func TestProbe_ThatIsAskedToComeBackLaterRenewsTheHold(t *testing.T) {
	const ban = "Retry-After: 437"
	for _, test := range []struct {
		status int
		header string
	}{
		{400, ban}, {401, ban}, {403, ban}, {404, ban}, {408, ban}, {409, ban}, {410, ban}, {413, ban}, {418, ban}, {420, ban},
		{423, ban}, {425, ban}, {430, ban}, {501, ban}, {505, ban},
		{404, "Retry-After-Ms: 437000"}, {404, "X-RateLimit-Retry-After: 437"}, {400, "Grpc-Retry-Pushback-Ms: 437000"},
	} {
		for _, replicas := range []int{0, 2} { // 0: one process without a store
			t.Run(fmt.Sprintf("%d %s, %d replicas", test.status, test.header, replicas), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					bans := 0
					start := time.Now()
					server := serverFunc(func(*http.Request) *http.Response {
						if time.Since(start) < 35*time.Second {
							return reply(429, "Retry-After: 35")
						}
						bans++
						return reply(test.status, test.header)
					})
					transports := []*holdoff.Transport{{Base: server, MaxWait: -1}}
					if replicas > 0 {
						store := &holdoff.MemoryStore{}
						transports = nil
						for range replicas {
							transports = append(transports, &holdoff.Transport{Base: server, MaxWait: -1, Store: store})
						}
					}
					for range 1000 {
						for _, tr := range transports {
							send(t, tr, http.MethodGet, "http://exchange.example/")
						}
						time.Sleep(100 * time.Millisecond)
					}
					if bans != 1 {
						t.Errorf("%d requests were sent into the ban, want 1", bans)
					}
				})
			})
		}
	}
}

// Outside of a probe such an answer is about one resource, and holds no other request.
func TestClassify_HintOfOneResourceHoldsNobodyElse(t *testing.T) {
	for _, status := range []int{400, 404, 409, 413, 423, 501} {
		synctest.Test(t, func(t *testing.T) {
			tr := &holdoff.Transport{MaxWait: -1, Base: serverFunc(func(req *http.Request) *http.Response {
				if req.URL.Path == "/locked" {
					return reply(status, "Retry-After: 30")
				}
				return reply(200)
			})}
			for range 30 {
				send(t, tr, http.MethodGet, "http://a.example/locked")
				if resp, err := send(t, tr, http.MethodGet, "http://a.example/"); err != nil || resp.StatusCode != 200 {
					t.Fatalf("beside %d: got %v, %v; want 200", status, resp, err)
				}
			}
		})
	}
}

func TestClassify_StatusesThatAreRefusalsOnlyWithAHintAhead(t *testing.T) {
	t.Parallel()
	final := holdoff.Verdict{Lesson: holdoff.Good, Reason: "client error"}
	for _, status := range []int{418, 420, 430} {
		for _, method := range []string{"GET", "POST"} {
			for _, headers := range [][]string{nil, {"Retry-After: 0"}, {"X-RateLimit-Reset: 9"}, {"X-RateLimit-Remaining: 4", "X-RateLimit-Reset: 9"}} {
				if got := verdict(method, status, headers...); got != final {
					t.Errorf("%s %d %q: got %+v, want %+v", method, status, headers, got, final)
				}
			}
			want := holdoff.Verdict{Retry: true, Lesson: holdoff.Refused, Hint: 9 * time.Second, Reason: "too many requests"}
			for _, headers := range [][]string{{"Retry-After: 9"}, {"X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 9"}, {`RateLimit: "a";r=0;t=9`}} {
				if got := verdict(method, status, headers...); got != want {
					t.Errorf("%s %d %q: got %+v, want %+v", method, status, headers, got, want)
				}
			}
		}
	}
}

func TestClassify_TooLargeForNowIsRepeatedWhereIdempotent(t *testing.T) {
	t.Parallel()
	want := holdoff.Verdict{Retry: true, Hint: 9 * time.Second, Reason: "too large for now"}
	if got := verdict("PUT", 413, "Retry-After: 9"); got != want {
		t.Errorf("PUT with a hint: got %+v, want %+v", got, want)
	}
	if got := verdict("POST", 413, "Retry-After: 9"); got.Retry || got.Lesson != holdoff.Nothing {
		t.Errorf("POST with a hint: got %+v, want no retry and no lesson", got)
	}
	if got := verdict("PUT", 413); got.Retry || got.Lesson != holdoff.Good {
		t.Errorf("PUT without a hint: got %+v, want no retry", got)
	}
}

// A classifier that reads a refusal out of a body may forget the lesson.
func TestClassify_SuccessWithAHintOfTheUsersIsNotGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		tr := &holdoff.Transport{
			MaxWait: -1,
			Base: serverFunc(func(*http.Request) *http.Response {
				sends++
				if sends == 1 {
					return reply(429, "Retry-After: 10")
				}
				return reply(200)
			}),
			Classify: func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
				if resp.StatusCode == 200 {
					return holdoff.Verdict{Hint: time.Minute, Reason: "THROTTLED in the body"}
				}
				return holdoff.DefaultClassify(req, resp, err)
			},
		}
		for range 60 {
			send(t, tr, http.MethodGet, "http://graphql.example/")
			time.Sleep(time.Second)
		}
		if sends != 2 {
			t.Errorf("got %d sends, want 2: the first, and the probe", sends)
		}
	})
}

func TestClassify_ForbiddenRateLimitResendsPOST(t *testing.T) {
	for _, test := range []struct {
		name    string
		headers []string
		sends   int
		wait    time.Duration
	}{
		{"GitHub's primary limit", []string{"X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 30"}, 2, 30 * time.Second},
		{"a secondary limit", []string{"X-RateLimit-Remaining: 4999", "Retry-After: 20"}, 2, 20 * time.Second},
		{"the IETF's field", []string{`RateLimit: "a";r=0;t=5`}, 2, 5 * time.Second},
		{"nothing remains, and no reset", []string{"X-RateLimit-Remaining: 0"}, 1, 0},
		{"only a reset", []string{"X-RateLimit-Reset: 30"}, 1, 0},
		{"forbidden", nil, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sends := 0
				tr := &holdoff.Transport{Base: serverFunc(func(*http.Request) *http.Response {
					if sends++; sends == 1 {
						return reply(403, test.headers...)
					}
					return reply(200)
				})}
				start := time.Now()
				if _, err := send(t, tr, http.MethodPost, "http://api.github.example/graphql"); err != nil {
					t.Fatal(err)
				}
				if sends != test.sends || time.Since(start) < test.wait {
					t.Errorf("got %d sends in %v, want %d after %v", sends, time.Since(start), test.sends, test.wait)
				}
			})
		})
	}
}

func TestClassify_ForbiddenOutOfACacheIsFinal(t *testing.T) {
	t.Parallel()
	want := holdoff.Verdict{Lesson: holdoff.Good, Reason: "client error"}
	for _, from := range []string{"Age: 40", "X-From-Cache: 1"} {
		for _, said := range [][]string{{"Retry-After: 2"}, {"X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 30"}, {"X-RateLimit-Remaining: 0"}, {`RateLimit: "a";r=0;t=5`}} {
			if got := verdict("GET", 403, append(said, from)...); got != want {
				t.Errorf("%q, %s: got %+v, want %+v", said, from, got, want)
			}
		}
	}
	if got := verdict("GET", 403, "Age: 0", "Retry-After: 2"); !got.Retry {
		t.Errorf("from its origin: got %+v, want a retry", got)
	}
	if got := verdict("GET", 429, "X-From-Cache: 1", "Retry-After: 2"); got.Hint != 0 {
		t.Errorf("429 out of a cache: got %+v, want no hint", got)
	}
}

// A cache that has no answer says 504 to a request for nothing but cached ones.
func TestClassify_OnlyIfCachedIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		tr := &holdoff.Transport{MaxWait: -1, Base: serverFunc(func(*http.Request) *http.Response {
			sends++
			return reply(504)
		})}
		forms := []string{"only-if-cached", "max-stale=60, Only-If-Cached"}
		for i := range 60 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Cache-Control", forms[i%2])
			var out holdoff.Outcome
			resp, err := tr.RoundTrip(req.WithContext(holdoff.WithOutcome(req.Context(), &out)))
			if err != nil || resp.StatusCode != 504 || out.Attempts != 1 {
				t.Fatalf("miss %d: got %v, %v, %+v; want the 504 after one send", i, resp, err, out)
			}
		}
		if sends != 60 {
			t.Errorf("got %d sends, want 60", sends)
		}
	})
	req := &http.Request{Method: "GET", Header: http.Header{"Cache-Control": {"only-if-cached"}}}
	if got, want := holdoff.DefaultClassify(req, reply(504), nil), (holdoff.Verdict{Reason: "not in the cache"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for name, req := range map[string]*http.Request{
		"no-cache":             {Method: "GET", Header: http.Header{"Cache-Control": {"no-cache"}}},
		"a name that is alike": {Method: "GET", Header: http.Header{"Cache-Control": {"x-only-if-cached"}}},
	} {
		if got := holdoff.DefaultClassify(req, reply(504), nil); !got.Retry || got.Lesson != holdoff.Failed {
			t.Errorf("%s: got %+v, want a retry", name, got)
		}
	}
}

func TestClassify_ReasonSaysWhyTheServersWordCounts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method string
		status int
		header string
		want   string
	}{
		{"POST", 500, "X-Should-Retry: true", "server says to retry"},
		{"GET", 400, "Stripe-Should-Retry: true", "server says to retry"},
		{"GET", 501, "X-Should-Retry: TRUE", "server says to retry"},
		{"GET", 503, "X-Should-Retry: true", "server error"}, // it would have been sent again all the same
		{"GET", 503, "X-Should-Retry: false", "server says not to retry"},
		{"GET", 503, "Grpc-Retry-Pushback-Ms: -1", "server says not to retry"},
	} {
		if got := verdict(test.method, test.status, test.header).Reason; got != test.want {
			t.Errorf("%s %d, %s: got the reason %q, want %q", test.method, test.status, test.header, got, test.want)
		}
	}
	// And so does what is logged.
	synctest.Test(t, func(t *testing.T) {
		var reasons []string
		sends := 0
		tr := &holdoff.Transport{
			Base: serverFunc(func(*http.Request) *http.Response {
				if sends++; sends == 1 {
					return reply(500, "X-Should-Retry: true")
				}
				return reply(200)
			}),
			Observe: func(_ context.Context, e holdoff.Event) {
				if e.Kind == holdoff.Waiting {
					reasons = append(reasons, e.Reason)
				}
			},
		}
		send(t, tr, http.MethodPost, "http://a.example/")
		if len(reasons) != 1 || reasons[0] != "server says to retry" {
			t.Errorf("the wait has the reasons %q, want one, that the server says to retry", reasons)
		}
	})
}

// A field of 9 MB is not worked through: its values would cost an allocation each.
func TestHint_HugeFieldCostsLittle(t *testing.T) {
	for _, name := range []string{
		"Retry-After", "Retry-After-Ms", "X-RateLimit-Reset", "X-RateLimit-Remaining", "RateLimit", "RateLimit-Reset",
		"X-RateLimit-Reset-Tokens", "Date", "Age", "X-Should-Retry", "Grpc-Retry-Pushback-Ms",
	} {
		for _, unit := range []string{"x,", "9", "x", "0,", "a;r=0;t=1,", "TRUE"} {
			resp := reply(429, name+": "+strings.Repeat(unit, 9<<20/len(unit)), "X-RateLimit-Reset: Tue, 15 Nov 2022 08:00:30 GMT")
			req := &http.Request{Method: "GET", Header: http.Header{}}
			var bytes uint64
			allocs := testing.AllocsPerRun(1, func() { bytes = allocated(func() { classify(req, resp) }) })
			if allocs > 1000 || bytes > 1<<20 {
				t.Errorf("%s of 9 MB of %q: %v allocations, %d bytes", name, unit, allocs, bytes)
			}
		}
	}
}

func classify(req *http.Request, resp *http.Response) { holdoff.DefaultClassify(req, resp, nil) }

// allocated returns how many bytes f allocates, and what else the process does
// meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
