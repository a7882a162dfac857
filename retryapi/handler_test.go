package retryapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

const target = "https://api.example.com/v1/things?token=sesame"

// rig is a Handler with one parked request, whose next attempt is number 4.
type rig struct {
	*Handler
	server *server
	lot    *MemoryLot
	id     string
	logs   *observer.ObservedLogs
}

// newRig makes a rig whose server answers with codes, a line of header by pairs.
func newRig(t testing.TB, codes []int, header ...string) *rig {
	t.Helper()
	base := &server{codes: codes, header: header}
	lot := memoryLot(t, Bounds{})
	core, logs := observer.New(zapcore.DebugLevel)
	r := &rig{server: base, lot: lot, logs: logs, Handler: &Handler{
		Transport: &holdoff.Transport{Base: base, Park: lot}, Lot: lot, Logger: zap.New(core),
	}}
	p := parkable(t, "PUT", target, allBytes)
	p.Request.Header.Set("Authorization", "Bearer sesame")
	r.id = park(t, lot, p)
	return r
}

// hold makes the server's next answers hold the key for that many seconds.
func (r *rig) hold(t testing.TB, seconds int) {
	t.Helper()
	codes := r.server.codes
	r.server.codes, r.server.header = []int{429}, []string{"Retry-After", strconv.Itoa(seconds)}
	req, err := http.NewRequest("GET", target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.Transport.RoundTrip(req.WithContext(holdoff.WithoutRetry(t.Context())))
	if err != nil || resp.StatusCode != 429 {
		t.Fatalf("got %v, %v, want the 429 that holds the key", resp, err)
	}
	r.server.codes, r.server.header = append([]int{429}, codes...), nil
}

func callBody(id string, attempt, sleep, jitter int) string {
	return fmt.Sprintf(`{"id":%q,"attemptNumber":%d,"sleepDuration":%d,"jitter":%d}`, id, attempt, sleep, jitter)
}

// post sends a RetryRequest to h. The header is given by pairs; "" takes away.
func post(h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	return postContext(context.Background(), h, body, header...)
}

func postContext(ctx context.Context, h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "http://admin.example.com/retry", strings.NewReader(body)).WithContext(ctx)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://admin.example.com"+path, nil))
	return rec
}

// retried decodes a RetryResponse, strictly.
func retried(t testing.TB, rec *httptest.ResponseRecorder) RetryResponse {
	t.Helper()
	if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %s: %s; want 200 application/json", rec.Code, rec.Header().Get("Content-Type"), rec.Body)
	}
	var answer RetryResponse
	d := json.NewDecoder(bytes.NewReader(rec.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&answer); err != nil {
		t.Fatalf("got %v for %s", err, rec.Body)
	}
	return answer
}

// refused checks that an answer is a problem, with that status and field.
func refused(t testing.TB, rec *httptest.ResponseRecorder, status int, field string) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		t.Fatalf("got %d %q, want problem+json", rec.Code, rec.Body)
	}
	if rec.Code != status || p.Status != status || p.Field != field {
		t.Errorf("got %d: %s; want %d and the field %q", rec.Code, rec.Body, status, field)
	}
	if kind := rec.Header().Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("got the type %q, want application/problem+json", kind)
	}
	if p.Type != "about:blank" || p.Title != http.StatusText(rec.Code) || p.Detail == "" {
		t.Errorf("got %+v, want type, title and detail as RFC 9457 has them", p)
	}
	return p
}

// next returns the number of the next attempt, and whether a caller makes it.
func (r *rig) next(t testing.TB) (int, bool) {
	t.Helper()
	list, _, err := r.lot.List(context.Background(), 1)
	if err != nil || len(list) != 1 {
		t.Fatalf("got %v, %v; want one request parked", list, err)
	}
	return list[0].Attempt, list[0].InFlight
}

// unsent checks that nothing was sent since, and that the number is the same.
func (r *rig) unsent(t testing.TB, sends int) {
	t.Helper()
	if got := r.server.sends(); got != sends {
		t.Errorf("got %d sends, want %d: nothing more was to be sent", got, sends)
	}
	if next, inFlight := r.next(t); next != 4 || inFlight {
		t.Errorf("got next number %d, in flight %t; want 4, and free", next, inFlight)
	}
}

func TestGoodReplayIsASuccessAndNoLongerParked(t *testing.T) {
	for _, code := range []int{200, 201, 204, 299} {
		r := newRig(t, []int{code})
		got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
		if want := (RetryResponse{ID: r.id, AttemptNumber: 4, Result: "success", Status: code, Slept: got.Slept}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if r.server.sends() != 1 || r.server.bodies[0] != string(allBytes) || r.server.seen[0].URL.String() != target ||
			r.server.seen[0].Header.Get("Authorization") != "Bearer sesame" {
			t.Errorf("got %d sends, want one of what was parked", r.server.sends())
		}
		if list, total, _ := r.lot.List(t.Context(), 1); len(list) != 0 || total != 0 {
			t.Errorf("got %v, want nothing parked", list)
		}
		refused(t, post(r, callBody(r.id, 5, 0, 0)), http.StatusNotFound, "id")
	}
}

func TestFailedReplayStaysParkedWithItsNextNumber(t *testing.T) {
	for _, tt := range []struct {
		code int
		want string
	}{
		{503, "the server answered 503 Service Unavailable"},
		{400, "the server answered 400 Bad Request"},
		{599, "the server answered 599 "},
		{0, "no response: "},
	} {
		r := newRig(t, []int{tt.code})
		for attempt := 4; attempt < 7; attempt++ {
			got := retried(t, post(r, callBody(r.id, attempt, 0, 0)))
			if got.Result != "failure" || got.Status != tt.code || !strings.HasPrefix(got.Error, tt.want) || got.RetryAfter != 0 ||
				got.NextAttemptNumber == nil || *got.NextAttemptNumber != attempt+1 {
				t.Errorf("got %+v, want a failure with %q and the next number %d", got, tt.want, attempt+1)
			}
			if next, inFlight := r.next(t); next != attempt+1 || inFlight {
				t.Errorf("got next number %d, in flight %t; want %d, and free", next, inFlight, attempt+1)
			}
		}
		list, total, err := r.lot.List(t.Context(), 10)
		if total != 1 || err != nil {
			t.Errorf("got %d parked, %v; want the one: a replay does not park again", total, err)
		}
		if list[0].Status != tt.code || !strings.HasPrefix(list[0].Error, tt.want) {
			t.Errorf("got %+v, want what the last replay got", list[0])
		}
	}
}

func TestReplayIsSentOnceAlsoWhereTheTransportWouldRetry(t *testing.T) {
	r := newRig(t, []int{503, 200})
	if got := retried(t, post(r, callBody(r.id, 4, 0, 0))); got.Result != "failure" || r.server.sends() != 1 {
		t.Errorf("got %+v after %d sends, want a failure after one", got, r.server.sends())
	}
}

func TestHeldReplayIsNotSentAndKeepsItsNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{200})
		r.hold(t, 200) // longer than MaxWait
		got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
		if got.Result != "failure" || got.Status != 0 || got.NextAttemptNumber == nil || *got.NextAttemptNumber != 4 ||
			!strings.Contains(got.Error, "https://api.example.com is held for") {
			t.Errorf("got %+v, want a failure that says that the key is held", got)
		}
		if got.RetryAfter < 199_000 || got.RetryAfter > 201_000 {
			t.Errorf("got retryAfter %d, want about 200000", got.RetryAfter)
		}
		r.unsent(t, 1)
		if _, total, _ := r.lot.List(t.Context(), 10); total != 1 {
			t.Errorf("got %d parked, want the one: a replay does not park again", total)
		}
		time.Sleep(205 * time.Second)
		if got := retried(t, post(r, callBody(r.id, 4, 0, 0))); got.Result != "success" {
			t.Errorf("got %+v once the hold is over, want a success", got)
		}
	})
}

func TestReplayWaitsForTheHoldAndReportsToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{429})
		r.hold(t, 10)
		r.server.header = []string{"Retry-After", "40"}
		begun := time.Now()
		got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
		if waited := r.server.times[1].Sub(begun); waited < 9*time.Second || got.Status != 429 {
			t.Errorf("got %+v, sent after %v; want the 429, sent once the hold of 10 s was over", got, waited)
		}
		keys := slices.Collect(r.Transport.Keys())
		if len(keys) != 1 || keys[0].Phase != holdoff.Held || time.Until(keys[0].Until) < 39*time.Second {
			t.Errorf("got %v, want the key held for 40 s: so the replay was told", keys)
		}
	})
}

// withholding is a lot that keeps no credentials.
type withholding struct{ Lot }

func (l withholding) Claim(ctx context.Context, id string, attempt int, lease time.Duration) (*Claim, error) {
	c, err := l.Lot.Claim(ctx, id, attempt, lease)
	if err == nil {
		c.Request.Header.Del("Authorization")
		c.Withheld = []string{"Authorization"}
	}
	return c, err
}

func TestPrepareStandsBeforeAReplay(t *testing.T) {
	t.Run("credentials without Prepare", func(t *testing.T) {
		r := newRig(t, []int{200})
		r.Lot = withholding{r.lot}
		got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
		if got.Result != "failure" || !strings.Contains(got.Error, "Handler.Prepare") || !strings.Contains(got.Error, "Authorization") ||
			*got.NextAttemptNumber != 4 {
			t.Errorf("got %+v, want a failure that names the header and Handler.Prepare", got)
		}
		r.unsent(t, 0)
	})
	t.Run("an error of Prepare", func(t *testing.T) {
		r := newRig(t, []int{200})
		r.Prepare = func(*http.Request) error { return errors.New("the vault is shut") }
		got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
		if got.Result != "failure" || !strings.Contains(got.Error, "could not be prepared") || strings.Contains(got.Error, "vault") {
			t.Errorf("got %+v, want a failure that does not tell what is inside", got)
		}
		r.unsent(t, 0)
		if warned := r.logs.FilterMessage("Prepare failed").All(); len(warned) != 1 || warned[0].Level != zapcore.WarnLevel {
			t.Errorf("got %v, want one warning", warned)
		}
	})
	t.Run("credentials put back", func(t *testing.T) {
		r := newRig(t, []int{200})
		r.Lot = withholding{r.lot}
		r.Prepare = func(req *http.Request) error {
			req.Header.Set("Authorization", "Bearer fresh")
			return nil
		}
		got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
		if got.Result != "success" || r.server.seen[0].Header.Get("Authorization") != "Bearer fresh" {
			t.Errorf("got %+v, want a success with the credentials of Prepare", got)
		}
	})
	t.Run("a panic of Prepare", func(t *testing.T) {
		r := newRig(t, []int{200})
		r.Prepare = func(*http.Request) error { panic("Prepare") }
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost; net/http was to see it")
				}
			}()
			post(r, callBody(r.id, 4, 0, 0))
		}()
		r.unsent(t, 0)
	})
}

func TestCallsThatAreRefused(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	long := strings.Repeat("a", 129)
	for _, tt := range []struct {
		name, body string
		status     int
		field      string
		detail     string
	}{
		{"empty", ``, 400, "", "RetryRequest"},
		{"malformed", `{"id":`, 400, "", "RetryRequest"},
		{"not JSON", `id=1&attemptNumber=2`, 400, "", "RetryRequest"},
		{"an array", `[]`, 400, "", ""},
		{"null", `null`, 400, "id", "id is missing"},
		{"no id", `{"attemptNumber":4}`, 400, "id", "id is missing"},
		{"empty id", `{"id":"","attemptNumber":4}`, 400, "id", "id is missing"},
		{"id is null", `{"id":null,"attemptNumber":4}`, 400, "id", "id is missing"},
		{"id is a number", `{"id":12345,"attemptNumber":4}`, 400, "id", "id must be a string, not a number"},
		{"long id", `{"id":"` + long + `","attemptNumber":4}`, 400, "id", "128"},
		{"no attemptNumber", `{"id":"` + id + `"}`, 400, "attemptNumber", "attemptNumber is missing"},
		{"attemptNumber is null", `{"id":"` + id + `","attemptNumber":null}`, 400, "attemptNumber", "attemptNumber is missing"},
		{"negative attemptNumber", `{"id":"` + id + `","attemptNumber":-1}`, 400, "attemptNumber", "from 0 to 2147483647"},
		{"huge attemptNumber", `{"id":"` + id + `","attemptNumber":2147483648}`, 400, "attemptNumber", "from 0 to 2147483647"},
		{"attemptNumber out of all bounds", `{"id":"` + id + `","attemptNumber":99999999999999999999999}`, 400, "attemptNumber", "from 0 to 2147483647"},
		{"fractional attemptNumber", `{"id":"` + id + `","attemptNumber":4.5}`, 400, "attemptNumber", "must be an integer"},
		{"attemptNumber with an exponent", `{"id":"` + id + `","attemptNumber":4e0}`, 400, "attemptNumber", "must be an integer"},
		{"attemptNumber is a string", `{"id":"` + id + `","attemptNumber":"4"}`, 400, "attemptNumber", "must be a number, not a string"},
		{"attemptNumber is a bool", `{"id":"` + id + `","attemptNumber":true}`, 400, "attemptNumber", "must be a number, not a bool"},
		{"attemptNumber is an object", `{"id":"` + id + `","attemptNumber":{}}`, 400, "attemptNumber", "must be a number, not a object"},
		{"negative sleepDuration", `{"id":"` + id + `","attemptNumber":4,"sleepDuration":-1}`, 400, "sleepDuration", "from 0 to 300000"},
		{"long sleepDuration", `{"id":"` + id + `","attemptNumber":4,"sleepDuration":300001}`, 400, "sleepDuration", "from 0 to 300000"},
		{"fractional sleepDuration", `{"id":"` + id + `","attemptNumber":4,"sleepDuration":0.5}`, 400, "sleepDuration", "must be an integer"},
		{"sleepDuration is a string", `{"id":"` + id + `","attemptNumber":4,"sleepDuration":"5000"}`, 400, "sleepDuration", "must be a number, not a string"},
		{"negative jitter", `{"id":"` + id + `","attemptNumber":4,"jitter":-1}`, 400, "jitter", "from 0 to 300000"},
		{"long jitter", `{"id":"` + id + `","attemptNumber":4,"jitter":300001}`, 400, "jitter", "from 0 to 300000"},
		{"jitter is a string", `{"id":"` + id + `","attemptNumber":4,"jitter":"x"}`, 400, "jitter", "must be a number, not a string"},
		{"jitter is a list", `{"id":"` + id + `","attemptNumber":4,"jitter":[1]}`, 400, "jitter", "must be a number, not a array"},
		{"unknown field", `{"id":"` + id + `","attemptNumber":4,"url":"https://evil.example"}`, 400, "", "url"},
		{"trailing data", `{"id":"` + id + `","attemptNumber":4}{}`, 400, "", "more after"},
		{"trailing garbage", `{"id":"` + id + `","attemptNumber":4} x`, 400, "", "more after"},
		{"too long", `{"id":"` + id + `","attemptNumber":4}` + strings.Repeat(" ", maxCall), 413, "", "4096 bytes"},
		{"unknown id", `{"id":"` + id + `","attemptNumber":4}`, 404, "id", "no such parked request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, []int{200})
			p := refused(t, post(r, tt.body), tt.status, tt.field)
			if !strings.Contains(p.Detail, tt.detail) {
				t.Errorf("got %q, want %q in it", p.Detail, tt.detail)
			}
			r.unsent(t, 0)
		})
	}
}

func TestLongestCallIsTaken(t *testing.T) {
	r := newRig(t, []int{200})
	body := callBody(r.id, 4, 0, 0)
	body += strings.Repeat(" ", maxCall-len(body))
	if got := retried(t, post(r, body)); got.Result != "success" {
		t.Errorf("got %+v, want a success", got)
	}
}

func TestMaxSleepBoundsSleepAndJitter(t *testing.T) {
	r := newRig(t, []int{200})
	r.MaxSleep = 2 * time.Second
	for _, field := range []string{"sleepDuration", "jitter"} {
		p := refused(t, post(r, fmt.Sprintf(`{"id":%q,"attemptNumber":4,%q:2001}`, r.id, field)), 400, field)
		if want := field + " is 2001; it must be an integer from 0 to 2000"; p.Detail != want {
			t.Errorf("got %q, want %q", p.Detail, want)
		}
	}
}

func TestOnlyJSONIsTaken(t *testing.T) {
	for kind, status := range map[string]int{
		"": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=x": 415,
		"application/jsonp": 415, "application/json;;": 415, "text/plain; application/json": 415, "application/problem+json": 415,
		"application/json": 200, "application/json; charset=utf-8": 200, "Application/JSON": 200,
	} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, []int{200})
			rec := post(r, callBody(r.id, 4, 0, 0), "Content-Type", kind)
			if status == 200 {
				retried(t, rec)
				return
			}
			refused(t, rec, status, "")
			r.unsent(t, 0)
		})
	}
}

func TestPagesOfOtherOriginsMayNotRetry(t *testing.T) {
	for _, tt := range []struct {
		origin, site string
		allowed      bool
	}{
		{"", "", true},
		{"http://admin.example.com", "same-origin", true},
		{"https://admin.example.com", "", true},
		{"", "none", true},
		{"https://evil.example", "", false},
		{"https://admin.example.com.evil.example", "", false},
		{"https://admin.example.com:444", "", false},
		{"http://admin.example.com", "cross-site", false},
		{"http://admin.example.com", "same-site", false},
		{"", "cross-site", false},
		{"null", "", false},
		{"%zz", "", false},
	} {
		t.Run(tt.origin+" "+tt.site, func(t *testing.T) {
			r := newRig(t, []int{200})
			var header []string
			if tt.origin != "" {
				header = append(header, "Origin", tt.origin)
			}
			if tt.site != "" {
				header = append(header, "Sec-Fetch-Site", tt.site)
			}
			rec := post(r, callBody(r.id, 4, 0, 0), header...)
			if tt.allowed {
				retried(t, rec)
				return
			}
			refused(t, rec, http.StatusForbidden, "")
			r.unsent(t, 0)
		})
	}
}

func TestOtherMethodsAreToldWhatIsAllowed(t *testing.T) {
	r := newRig(t, []int{200})
	for path, allowed := range map[string]string{
		"/retry": "POST", "/state": "GET, HEAD", "/events": "GET", "/": "GET, HEAD", "/page.css": "GET, HEAD", "/page.js": "GET, HEAD",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			if slices.Contains(strings.Split(allowed, ", "), method) {
				continue
			}
			req := httptest.NewRequest(method, "http://admin.example.com"+path, strings.NewReader(callBody(r.id, 4, 0, 0)))
			req.Header.Set("Content-Type", "application/json")
			rec := httptest.NewRecorder()
			r.ServeHTTP(rec, req)
			refused(t, rec, http.StatusMethodNotAllowed, "")
			if got := rec.Header().Get("Allow"); got != allowed {
				t.Errorf("%s %s: got Allow %q, want %q", method, path, got, allowed)
			}
		}
	}
	r.unsent(t, 0)
}

func TestReadingDoesNothing(t *testing.T) {
	r := newRig(t, []int{200})
	query := "?id=" + r.id + "&attemptNumber=4&sleepDuration=0&jitter=0"
	for _, path := range []string{"/", "/state", "/retry", "/page.css", "/page.js", "/nothing"} {
		for _, method := range []string{"GET", "HEAD"} {
			rec := httptest.NewRecorder()
			r.ServeHTTP(rec, httptest.NewRequest(method, "http://admin.example.com"+path+query, nil))
		}
	}
	r.unsent(t, 0)
}

func TestWrongNumberIsAConflict(t *testing.T) {
	r := newRig(t, []int{503})
	retried(t, post(r, callBody(r.id, 4, 0, 0)))
	for _, attempt := range []int{0, 4, 6} {
		p := refused(t, post(r, callBody(r.id, attempt, 0, 0)), http.StatusConflict, "attemptNumber")
		if p.NextAttemptNumber == nil || *p.NextAttemptNumber != 5 || p.InFlight == nil || *p.InFlight {
			t.Errorf("got %+v for %d, want the next number 5, not in flight", p, attempt)
		}
	}
	if got := r.server.sends(); got != 1 {
		t.Errorf("got %d sends, want 1", got)
	}
}

func TestAttemptThatSomebodyIsMakingIsAConflict(t *testing.T) {
	r := newRig(t, []int{200})
	begun, goOn := make(chan struct{}), make(chan struct{})
	r.Transport.Base = baseFunc(func(*http.Request) (*http.Response, error) {
		close(begun)
		<-goOn
		return response(503), nil
	})
	var wg sync.WaitGroup
	wg.Go(func() { post(r, callBody(r.id, 4, 0, 0)) })
	<-begun
	for _, attempt := range []int{4, 5} {
		p := refused(t, post(r, callBody(r.id, attempt, 0, 0)), http.StatusConflict, "attemptNumber")
		if p.InFlight == nil || !*p.InFlight || p.NextAttemptNumber == nil || *p.NextAttemptNumber != 5 {
			t.Errorf("got %+v for %d, want one in flight, and 5 the next", p, attempt)
		}
	}
	close(goOn)
	wg.Wait()
}

func TestLotOutOfReachIs503WithRetryAfter(t *testing.T) {
	r := newRig(t, []int{200})
	r.Lot = awayLot{r.lot}
	rec := post(r, callBody(r.id, 4, 0, 0))
	refused(t, rec, http.StatusServiceUnavailable, "")
	if n, err := strconv.Atoi(rec.Header().Get("Retry-After")); err != nil || n < 1 {
		t.Errorf("got Retry-After %q, want seconds", rec.Header().Get("Retry-After"))
	}
	state := get(r, "/state")
	var s State
	if err := json.Unmarshal(state.Body.Bytes(), &s); err != nil || state.Code != 200 || s.ParkedError == "" {
		t.Errorf("got %d %s, want the state, and why the parked requests are missing", state.Code, state.Body)
	}
	for _, rec := range []*httptest.ResponseRecorder{rec, state} {
		if strings.Contains(rec.Body.String(), "192.0.2.1") {
			t.Errorf("got %s, want no address of the store in it", rec.Body)
		}
	}
	if page := get(r, "/"); page.Code != 200 {
		t.Errorf("got %d for the page, want 200: it says what it knows", page.Code)
	}
}

func TestNoLotIs404(t *testing.T) {
	r := newRig(t, []int{200})
	r.Lot = nil
	refused(t, post(r, callBody(r.id, 4, 0, 0)), http.StatusNotFound, "id")
	if rec := get(r, "/state"); rec.Code != 200 {
		t.Errorf("got %d for the state, want 200", rec.Code)
	}
}

func TestPathsThatAreNothingAre404(t *testing.T) {
	r := newRig(t, []int{200})
	for _, path := range []string{"/nothing", "/page.html", "/retry.json", "/page"} {
		refused(t, get(r, path), http.StatusNotFound, "")
	}
}

// rename gives the one parked request the id of the seeds' example.
func (r *rig) rename(id string) {
	l := r.lot
	l.parked[id] = l.parked[r.id]
	delete(l.parked, r.id)
	l.parked[id].summary.ID = id
	r.id = id
}

// The seeds' example: their request byte for byte, and of the answer their
// fields in their order. The further ones come after.
func TestSeedsExample(t *testing.T) {
	const request = `{
  "id": "12345",
  "attemptNumber": 3,
  "sleepDuration": 5000,
  "jitter": 1000
}
`
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			code int
			want string
		}{
			{200, `^{"id":"12345","attemptNumber":3,"result":"success","status":200,"slept":(\d+)}$`},
			{503, `^{"id":"12345","attemptNumber":3,"result":"failure","status":503,"slept":(\d+),"error":"the server answered 503 Service Unavailable","nextAttemptNumber":4}$`},
		} {
			r := newRig(t, []int{tt.code})
			r.rename("12345")
			r.lot.parked["12345"].now.Store(&standing{next: 3})
			begun := time.Now()
			rec := post(r, request)
			match := regexp.MustCompile(tt.want).FindStringSubmatch(rec.Body.String())
			if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/json" || match == nil {
				t.Fatalf("got %d %s, want 200 and %s", rec.Code, rec.Body, tt.want)
			}
			took := time.Since(begun)
			if slept, _ := strconv.ParseInt(match[1], 10, 64); slept != took.Milliseconds() || took < 5*time.Second || took > 6*time.Second {
				t.Errorf("got slept %d and %v in all, want 5000 to 6000 ms", slept, took)
			}
		}
	})
	b, err := json.Marshal(RetryRequest{ID: "12345", AttemptNumber: 3, SleepDuration: 5000, Jitter: 1000})
	if want := `{"id":"12345","attemptNumber":3,"sleepDuration":5000,"jitter":1000}`; string(b) != want || err != nil {
		t.Errorf("got %s, %v; want %s", b, err, want)
	}
}

func TestSleepIsDurationPlusJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct{ sleep, jitter int }{{0, 0}, {5000, 0}, {0, 1000}, {5000, 1000}, {300000, 300000}} {
			least, most := time.Hour, time.Duration(0)
			const rounds = 60
			for range rounds {
				r := newRig(t, []int{200})
				begun := time.Now()
				got := retried(t, post(r, callBody(r.id, 4, tt.sleep, tt.jitter)))
				took := r.server.times[0].Sub(begun)
				if got.Slept != took.Milliseconds() {
					t.Errorf("got slept %d, want %d", got.Slept, took.Milliseconds())
				}
				least, most = min(least, took), max(most, took)
			}
			from, spread := time.Duration(tt.sleep)*time.Millisecond, time.Duration(tt.jitter)*time.Millisecond
			if least < from || most > from+spread {
				t.Errorf("%+v: got %v to %v, want it within %v and %v", tt, least, most, from, from+spread)
			}
			// That 60 draws leave half of the range out: 1 in 10^12 at the least.
			if most-least < spread/2 {
				t.Errorf("%+v: got %v to %v, want it spread over %v", tt, least, most, spread)
			}
		}
	})
}

func TestSleepAndJitterMayBeLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, more := range []string{"", `,"sleepDuration":null,"jitter":null`} {
			r := newRig(t, []int{200})
			got := retried(t, post(r, fmt.Sprintf(`{"id":%q,"attemptNumber":4%s}`, r.id, more)))
			if got.Result != "success" || got.Slept != 0 {
				t.Errorf("got %+v, want a success at once", got)
			}
		}
	})
}

func TestCallerWhoGoesBeforeTheSendCancelsIt(t *testing.T) {
	check := func(t *testing.T, r *rig, sends int) {
		t.Helper()
		r.unsent(t, sends)
		if t.Failed() {
			return
		}
		time.Sleep(20 * time.Second)
		if got := retried(t, post(r, callBody(r.id, 4, 0, 0))); got.Result != "success" {
			t.Errorf("got %+v for the same number later, want a success", got)
		}
	}
	t.Run("in the sleep", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, []int{200})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			begun := time.Now()
			postContext(ctx, r, callBody(r.id, 4, 5000, 0))
			if took := time.Since(begun); took != time.Second {
				t.Errorf("got an end after %v, want it with the caller's after 1s", took)
			}
			check(t, r, 0)
		})
	})
	t.Run("before the call is read", func(t *testing.T) {
		for range 50 { // a select of two that are ready takes either
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, []int{200})
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				postContext(ctx, r, callBody(r.id, 4, 0, 0))
				check(t, r, 0)
			})
		}
	})
	t.Run("in a hold", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, []int{200})
			r.hold(t, 10)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(5*time.Second, cancel)
			begun := time.Now()
			postContext(ctx, r, callBody(r.id, 4, 0, 0))
			if took := time.Since(begun); took != 5*time.Second {
				t.Errorf("got an end after %v, want it with the caller's after 5s", took)
			}
			check(t, r, 1)
		})
	})
}

func TestCallerWhoGoesAfterTheSendDoesNotCancelIt(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		close(arrived)
		select {
		case <-goOn:
		case <-r.Context().Done():
			t.Error("the replay was cancelled; it was on its way")
		}
	}))
	defer backend.Close()
	lot := memoryLot(t, Bounds{})
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	h := &Handler{Transport: &holdoff.Transport{Base: base}, Lot: lot}
	id := park(t, lot, parkable(t, "PUT", backend.URL, []byte("x")))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { postContext(ctx, h, callBody(id, 4, 0, 0)) })
	<-arrived
	cancel()
	time.Sleep(50 * time.Millisecond) // for a cancellation to show
	close(goOn)
	wg.Wait()
	if got := ids(t, lot); len(got) != 0 {
		t.Errorf("got %v parked, want nothing: the replay was good, and is noted", got)
	}
}

func TestReplayIsLoggedAtDebug(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{503})
		post(r, callBody(r.id, 4, 1500, 0))
		post(r, callBody(r.id, 4, 0, 0))
		entries := r.logs.FilterMessage("retry").All()
		if len(entries) != 2 {
			t.Fatalf("got %d entries, want 2", len(entries))
		}
		for i, want := range []map[string]any{
			{"id": r.id, "attempt": int64(4), "result": "failure", "status": int64(503), "slept_ms": int64(1500),
				"duration": 1500 * time.Millisecond, "error": "the server answered 503 Service Unavailable"},
			{"id": r.id, "attempt": int64(4), "refused": "retryapi: the next attempt has the number 5"},
		} {
			if entries[i].Level != zapcore.DebugLevel {
				t.Errorf("got level %v, want DEBUG", entries[i].Level)
			}
			got := entries[i].ContextMap()
			for name, value := range want {
				if got[name] != value {
					t.Errorf("got %s %v (%T), want %v", name, got[name], got[name], value)
				}
			}
		}
	})
}

func TestSecretsAreInNoAnswerAndNoLog(t *testing.T) {
	r := newRig(t, []int{0, 503, 401})
	core, logs := observer.New(zapcore.DebugLevel)
	r.Logger = zap.New(core)
	r.Transport.Logger = r.Logger
	r.Transport.Observe = r.Observe
	p := parkable(t, "PUT", "https://user:sesame@api.example.com/v1?token=sesame#sesame", []byte("sesame"))
	p.Request.Header = http.Header{"Cookie": {"sesame"}, "X-Api-Key": {"sesame"}}
	second := park(t, r.lot, p)
	var answers []*httptest.ResponseRecorder
	for attempt := 4; attempt < 7; attempt++ {
		answers = append(answers, post(r, callBody(r.id, attempt, 0, 0)), post(r, callBody(second, attempt, 0, 0)))
	}
	answers = append(answers, get(r, "/state"), get(r, "/"), post(r, callBody(r.id, 1, 0, 0)))
	for _, rec := range answers {
		if all := fmt.Sprint(rec.Header(), rec.Body); strings.Contains(all, "sesame") {
			t.Errorf("got a secret in %s", all)
		}
	}
	if logs.Len() == 0 {
		t.Fatal("nothing is logged: the test tests nothing")
	}
	for _, e := range logs.All() {
		if all := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(all, "sesame") {
			t.Errorf("got a secret in the log: %s", all)
		}
	}
}

func TestEveryAnswerForbidsWhatAPageDoesNotNeed(t *testing.T) {
	r := newRig(t, []int{200})
	for name, rec := range map[string]*httptest.ResponseRecorder{
		"page": get(r, "/"), "state": get(r, "/state"), "css": get(r, "/page.css"), "js": get(r, "/page.js"), "404": get(r, "/x"),
		"405": get(r, "/retry"), "409": post(r, callBody(r.id, 9, 0, 0)), "200": post(r, callBody(r.id, 4, 0, 0)),
	} {
		csp := rec.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: got the policy %q, want %s in it", name, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: got the policy %q, want nothing unsafe", name, csp)
		}
		for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got := rec.Header().Get(header); got != want {
				t.Errorf("%s: got %s %q, want %q", name, header, got, want)
			}
		}
		if cache := rec.Header().Get("Cache-Control"); cache != "no-store" && name != "css" && name != "js" {
			t.Errorf("%s: got Cache-Control %q, want no-store", name, cache)
		}
	}
}

func TestHandlerUnderAPrefix(t *testing.T) {
	r := newRig(t, []int{200})
	mux := http.NewServeMux()
	mux.Handle("/internal/holdoff/", r.Handler)
	mux.Handle("/cut/", http.StripPrefix("/cut", r.Handler))
	for _, prefix := range []string{"/internal/holdoff/", "/cut/"} {
		for path, want := range map[string]string{"": "text/html", "state": "application/json", "page.css": "text/css", "page.js": "text/javascript"} {
			rec := get(mux, prefix+path)
			if rec.Code != 200 || !strings.HasPrefix(rec.Header().Get("Content-Type"), want) {
				t.Errorf("%s%s: got %d %s, want 200 %s", prefix, path, rec.Code, rec.Header().Get("Content-Type"), want)
			}
		}
		refused(t, get(mux, prefix+"nothing"), http.StatusNotFound, "")
	}
	req := httptest.NewRequest("POST", "http://admin.example.com/internal/holdoff/retry", strings.NewReader(callBody(r.id, 4, 0, 0)))
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, req)
	if got := retried(t, rec); got.Result != "success" {
		t.Errorf("got %+v, want a success", got)
	}
}

func TestStateTellsAllThatIsDocumented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{200})
		r.Transport.Observe = r.Observe
		store := &holdoff.MemoryStore{}
		r.Transport.Store = store
		r.hold(t, 30)
		time.Sleep(time.Second)
		rec := get(r, "/state?host=API.example.com&limit=7")
		var state map[string]any
		if err := json.Unmarshal(rec.Body.Bytes(), &state); err != nil || rec.Code != 200 || rec.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("got %d %s, %v; want JSON", rec.Code, rec.Body, err)
		}
		fields := func(v any) []string { return slices.Sorted(maps.Keys(v.(map[string]any))) }
		for _, tt := range []struct {
			what string
			got  any
			want string
		}{
			{"state", state, "host keys keysTotal limit parked parkedTotal store time totals"},
			{"store", state["store"], "ok"},
			{"key", state["keys"].([]any)[0], "attempts history hold key last left level phase serverDirected shared status told until waiters witnesses words"},
			{"parked", state["parked"].([]any)[0], "attemptNumber ended id inFlight key method parked size status url"},
		} {
			if got := strings.Join(fields(tt.got), " "); got != tt.want {
				t.Errorf("%s: got the fields %s, want %s", tt.what, got, tt.want)
			}
		}
		var s State
		if err := json.Unmarshal(rec.Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		k := s.Keys[0]
		if !strings.HasPrefix(k.Key, "https://api.example.com /v1/things @") || k.Phase != "held" || k.Status != 429 || !k.ServerDirected || k.Told || k.Attempts != 1 {
			t.Errorf("got %+v, want the key held by the server's 429", k)
		}
		if k.Left < 28_000 || k.Left > 29_100 || k.Hold < 29_900 || k.Hold > 30_100 {
			t.Errorf("got %d ms left of %d, want 29 s of 30", k.Left, k.Hold)
		}
		if want := "held for 29 s more: 429 Too Many Requests, the server asked for it"; k.Words != want {
			t.Errorf("got %q, want %q", k.Words, want)
		}
		if len(k.History) != 1 || k.History[0].Status != 429 || !k.History[0].To.IsZero() {
			t.Errorf("got the history %+v, want one hold that lasts", k.History)
		}
		if p := s.Parked[0]; p.ID != r.id || p.URL != "https://api.example.com/v1/things" || p.Size != 256 || p.Attempt != 4 {
			t.Errorf("got %+v, want the parked request without its query", p)
		}
		if s.Host != "api.example.com" || s.Limit != 7 {
			t.Errorf("got the filter %q, %d; want the one that was asked for", s.Host, s.Limit)
		}
	})
}

func TestStateIsFilteredAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &server{codes: []int{429}, header: []string{"Retry-After", "60"}}
		lot := memoryLot(t, Bounds{})
		rt := &holdoff.Transport{Base: base, MaxWait: -1, Park: lot, Key: func(req *http.Request) string { return req.Header.Get("X-Key") }}
		h := &Handler{Transport: rt, Lot: lot}
		const hosts = 1200
		for i := range hosts {
			req, err := http.NewRequest("GET", fmt.Sprintf("https://host-%d.example.com/", i), nil)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				req.Header.Set("X-Key", "Tenant-A")
			}
			if _, err := rt.RoundTrip(req); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // the order of what is parked is by time
		}
		for _, tt := range []struct {
			query               string
			keys, total, parked int
			limit               int
		}{
			{"", 200, hosts, parkedLimit, 200},
			{"?limit=5", 5, hosts, parkedLimit, 5},
			{"?limit=1000", 1000, hosts, parkedLimit, 1000},
			{"?limit=1001", 1000, hosts, parkedLimit, 1000},
			{"?limit=0", 200, hosts, parkedLimit, 200},
			{"?limit=-1", 200, hosts, parkedLimit, 200},
			{"?limit=x", 200, hosts, parkedLimit, 200},
			{"?limit=99999999999999999999", 200, hosts, parkedLimit, 200},
			{"?host=host-1199.", 1, 1, 1, 200},
			{"?host=HOST-1199.", 1, 1, 1, 200},
			{"?host=tenant-a", 1, 1, 0, 200},
			{"?host=Tenant-A", 1, 1, 0, 200},
			{"?host=nowhere", 0, 0, 0, 200},
			{"?host=%3Cscript%3E", 0, 0, 0, 200},
		} {
			var s State
			rec := get(h, "/state"+tt.query)
			if err := json.Unmarshal(rec.Body.Bytes(), &s); err != nil {
				t.Fatal(err)
			}
			if len(s.Keys) != tt.keys || s.KeysTotal != tt.total || len(s.Parked) != tt.parked || s.Limit != tt.limit {
				t.Errorf("%q: got %d keys of %d, %d parked, limit %d; want %d of %d, %d, %d", tt.query,
					len(s.Keys), s.KeysTotal, len(s.Parked), s.Limit, tt.keys, tt.total, tt.parked, tt.limit)
			}
			if !strings.Contains(rec.Body.String(), `"keys":[`) || !strings.Contains(rec.Body.String(), `"parked":[`) {
				t.Errorf("%q: got %.200s, want lists, also where they are empty", tt.query, rec.Body)
			}
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	var h history
	now := time.Now()
	for i := range historyKeys + 50 {
		for range historyLen + 10 {
			now = now.Add(time.Second)
			h.note(holdoff.Event{Kind: holdoff.HoldStarted, Key: strconv.Itoa(i), Phase: holdoff.Held, Status: 503}, now)
			h.note(holdoff.Event{Kind: holdoff.HoldEnded, Key: strconv.Itoa(i)}, now.Add(time.Millisecond))
		}
	}
	if len(h.keys) != historyKeys {
		t.Errorf("got %d keys remembered, want %d", len(h.keys), historyKeys)
	}
	if got := h.of("0", now); len(got) != 0 {
		t.Errorf("got %v of the oldest key, want it forgotten", got)
	}
	if got := h.of(strconv.Itoa(historyKeys+49), now); len(got) != historyLen || got[0].To.IsZero() {
		t.Errorf("got %d intervals, want the latest %d, each with its end", len(got), historyLen)
	}
	if !h.since("7").IsZero() {
		t.Error("a hold that has ended has a beginning, want none")
	}
}

// stream is what a client of /events sees. It takes no more once it is stuck,
// and fails at the deadline that the handler has set.
type stream struct {
	mu       sync.Mutex
	header   http.Header
	messages []string
	status   int
	stuck    bool
	deadline time.Time
	limits   []time.Duration
}

func (s *stream) Header() http.Header {
	if s.header == nil {
		s.header = http.Header{}
	}
	return s.header
}
func (s *stream) WriteHeader(status int) { s.status = status }
func (s *stream) Flush()                 {}
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	s.limits = append(s.limits, time.Until(t))
	return nil
}
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	stuck, end := s.stuck, s.deadline
	if !stuck {
		s.messages = append(s.messages, string(b))
	}
	s.mu.Unlock()
	if stuck {
		if end.IsZero() {
			end = time.Now().Add(24 * time.Hour)
		}
		time.Sleep(time.Until(end))
		return 0, errors.New("i/o timeout")
	}
	return len(b), nil
}
func (s *stream) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}
func (s *stream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

// follow starts a client of /events. The first function ends it, and the second
// waits for its end.
func follow(t *testing.T, h http.Handler, s *stream) (stop func(), wait func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(s, httptest.NewRequest("GET", "http://admin.example.com/events", nil).WithContext(ctx))
	}()
	return cancel, func() { <-done }
}

func TestEventsAreSentOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{503})
		s := &stream{}
		stop, wait := follow(t, r, s)
		time.Sleep(5 * time.Second)
		if got := s.count(); got != 1 || s.Header().Get("Content-Type") != "text/event-stream" {
			t.Fatalf("got %d messages of %s, want the state once: nothing has changed", got, s.Header().Get("Content-Type"))
		}
		post(r, callBody(r.id, 4, 0, 0))
		time.Sleep(2 * refresh)
		if got := s.count(); got < 2 {
			t.Fatalf("got %d messages after a replay, want a second one", got)
		}
		form := regexp.MustCompile(`^event: state\ndata: (\{[^\n]*\})\n\n$`)
		match := form.FindStringSubmatch(s.all()[s.count()-1])
		var state State
		if match == nil || json.Unmarshal([]byte(match[1]), &state) != nil || len(state.Parked) != 1 || state.Parked[0].Attempt != 5 {
			t.Errorf("got %q, want the state with the next number 5", s.all())
		}
		before := s.count()
		time.Sleep(2 * beat)
		if beats := s.all()[before:]; !slices.Contains(beats, "event: beat\ndata: {}\n\n") {
			t.Errorf("got %q, want a beat where nothing changes for a while", beats)
		}
		stop()
		wait()
		if got := r.streams.Load(); got != 0 {
			t.Errorf("got %d streams after the client went, want 0", got)
		}
	})
}

func TestNumberOfStreamsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{503})
		var stops, waits []func()
		for range maxStreams {
			stop, wait := follow(t, r, &stream{})
			stops, waits = append(stops, stop), append(waits, wait)
		}
		synctest.Wait()
		for range 2 {
			rec := get(r, "/events")
			refused(t, rec, http.StatusServiceUnavailable, "")
			if rec.Header().Get("Retry-After") == "" {
				t.Error("got no Retry-After, want one")
			}
		}
		stops[0]()
		waits[0]()
		s := &stream{}
		stop, wait := follow(t, r, s)
		synctest.Wait()
		if s.count() != 1 {
			t.Errorf("got %d messages, want the state: there is room again", s.count())
		}
		for _, f := range append(append(stops, stop), append(waits, wait)...) {
			f()
		}
	})
}

func TestSlowClientIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{503})
		s := &stream{stuck: true}
		begun := time.Now()
		_, wait := follow(t, r, s)
		wait()
		if took := time.Since(begun); took > slowClient || r.streams.Load() != 0 {
			t.Errorf("got an end after %v, %d streams left; want it within %v, and none", took, r.streams.Load(), slowClient)
		}
		for _, limit := range s.limits {
			if limit <= 0 || limit > slowClient {
				t.Errorf("got a deadline in %v, want one within %v", limit, slowClient)
			}
		}
	})
}

func TestEventsOverARealConnection(t *testing.T) {
	r := newRig(t, []int{503})
	admin := httptest.NewServer(r)
	defer admin.Close()
	client := admin.Client()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", admin.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 13)
	if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "event: state\n" {
		t.Errorf("got %q, %v; want the first event at once", buf, err)
	}
	cancel()
	resp.Body.Close()
	eventually(t, "the stream ends with its client", func() bool { return r.streams.Load() == 0 })
}

// statuses counts the answers to many calls at the same time.
func statuses(h http.Handler, id string, attempt, calls int) map[int]int {
	got := map[int]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for range calls {
		wg.Go(func() {
			<-begin
			rec := post(h, callBody(id, attempt, 0, 2))
			mu.Lock()
			defer mu.Unlock()
			got[rec.Code]++
		})
	}
	close(begin)
	wg.Wait()
	return got
}

func TestOfManyConcurrentCallsOneSends(t *testing.T) {
	check := func(t *testing.T, r *rig) {
		for attempt := 4; attempt < 7; attempt++ {
			got := statuses(r, r.id, attempt, 50)
			if want := map[int]int{200: 1, 409: 49}; !maps.Equal(got, want) {
				t.Errorf("attempt %d: got the statuses %v, want %v", attempt, got, want)
			}
			if sends := r.server.sends(); sends != attempt-3 {
				t.Errorf("attempt %d: got %d sends in all, want %d", attempt, sends, attempt-3)
			}
		}
	}
	t.Run("MemoryLot", func(t *testing.T) { check(t, newRig(t, []int{500})) })
	t.Run("RedisLot", func(t *testing.T) {
		r := newRig(t, []int{500})
		lot := redisLot(t, redistest.Start(t), RedisLotOptions{})
		r.Lot, r.id = lot, park(t, lot, parkable(t, "PUT", "https://api.example.com/v1/things", nil))
		check(t, r)
	})
}

// Any bytes and headers are either a call within the bounds or a problem.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`{"id":"12345","attemptNumber":3,"sleepDuration":5000,"jitter":1000}`, `{"id":"a","attemptNumber":1e400}`, `{"id":"a","attemptNumber":"1"}`,
		`{"id":"\ud800","attemptNumber":-0}`, `{"ID":"a","attemptnumber":1}`, `null`, `[[[[`, ``, `{"id":"a","attemptNumber":1}x`, `{"jitter":{}}`,
	} {
		f.Add([]byte(body), "application/json", "", "")
	}
	f.Add([]byte(`{}`), "text/plain; charset", "https://evil.example", "cross-site")
	f.Add([]byte(`{}`), "application/json", "http://[::1%", "same-origin")
	f.Fuzz(func(t *testing.T, body []byte, kind, origin, site string) {
		r := httptest.NewRequest("POST", "http://admin.example.com/retry", bytes.NewReader(body))
		r.Header = http.Header{"Content-Type": {kind}, "Origin": {origin}, "Sec-Fetch-Site": {site}}
		const most = 60_000
		call, wrong := decode(r, most*time.Millisecond)
		if wrong != nil {
			switch wrong.Status {
			case 400, 403, 413, 415:
			default:
				t.Errorf("got status %d, want one of a bad call", wrong.Status)
			}
			if wrong.Detail == "" || call != (RetryRequest{}) {
				t.Errorf("got %+v and %+v, want a detail and no call", wrong, call)
			}
			rec := httptest.NewRecorder()
			wrong.write(rec)
			if !json.Valid(rec.Body.Bytes()) {
				t.Errorf("got %q, want JSON", rec.Body)
			}
			return
		}
		if call.ID == "" || len(call.ID) > 128 || call.AttemptNumber < 0 || call.SleepDuration < 0 || call.SleepDuration > most || call.Jitter < 0 || call.Jitter > most {
			t.Errorf("got %+v, want it within the bounds", call)
		}
		if !sameOrigin(r) || len(body) > maxCall {
			t.Errorf("got %+v of a call that was to be refused", call)
		}
		again, err := json.Marshal(call)
		if err != nil {
			t.Fatal(err)
		}
		r = httptest.NewRequest("POST", "http://admin.example.com/retry", bytes.NewReader(again))
		r.Header.Set("Content-Type", "application/json")
		if back, wrong := decode(r, most*time.Millisecond); wrong != nil || back != call {
			t.Errorf("got %+v, %v; want %+v: a call that is written is read as it was", back, wrong, call)
		}
	})
}

// A replay that panics has used its number up.
func TestReplayThatPanicsUsesItsNumber(t *testing.T) {
	lot, err := NewMemoryLot(Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest("GET", "http://h.example/", nil)
	id, err := lot.Park(t.Context(), holdoff.Parked{Request: req, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	sends := 0
	h := &Handler{Lot: lot, Transport: &holdoff.Transport{Base: panicking(func() { sends++; panic("boom") })}}
	for _, want := range []bool{true, false} {
		func() {
			defer func() {
				if got := recover() != nil; got != want {
					t.Errorf("a panic came up: %v, want %v", got, want)
				}
			}()
			_, err := h.replay(t.Context(), RetryRequest{ID: id, AttemptNumber: 1})
			if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.Next != 2 {
				t.Errorf("got %v, want a conflict: the next number is 2", err)
			}
		}()
	}
	if sends != 1 {
		t.Errorf("got %d sends for one number, want 1", sends)
	}
}

type panicking func()

func (p panicking) RoundTrip(*http.Request) (*http.Response, error) { p(); return nil, nil }

// A success that can't be noted at once is noted as soon as the lot answers.
func TestSuccessIsNotedWhereTheLotFailsAtFirst(t *testing.T) {
	inner, err := NewMemoryLot(Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	lot := &forgetfulLot{Lot: inner, fails: 3}
	req, _ := http.NewRequest("GET", "http://h.example/", nil)
	id, err := lot.Park(t.Context(), holdoff.Parked{Request: req, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{Lot: lot, Transport: &holdoff.Transport{Base: answering{}}}
	if answer, err := h.replay(t.Context(), RetryRequest{ID: id, AttemptNumber: 1}); err != nil || answer.Result != "success" {
		t.Fatalf("got %+v, %v; want success", answer, err)
	}
	if _, total, _ := lot.List(t.Context(), 10); total != 0 {
		t.Errorf("got %d parked after a success, want none", total)
	}
}

type answering struct{}

func (answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
}

// forgetfulLot fails to settle a few times.
type forgetfulLot struct {
	Lot
	fails int
}

func (l *forgetfulLot) Settle(ctx context.Context, c *Claim, r Result) error {
	if l.fails--; l.fails >= 0 {
		return errors.New("away")
	}
	return l.Lot.Settle(ctx, c, r)
}
