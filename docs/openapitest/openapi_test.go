// Package openapitest holds docs/openapi.yaml against the handler. It is a
// module of its own, so that users do not inherit what reads that file.
package openapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/retryapi"
)

func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("docs/openapi.yaml is not a valid description: %v", err)
	}
	return doc
}

// base answers with one status, and holds the host where that is 429.
type base struct{ status *int }

func (b base) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	h := http.Header{}
	if *b.status == 429 {
		h.Set("Retry-After", "200")
	}
	return &http.Response{StatusCode: *b.status, Header: h, Body: http.NoBody, Request: req}, nil
}

// away is a lot whose store is out of reach.
type away struct{ retryapi.Lot }

func (away) Claim(context.Context, string, int, time.Duration) (*retryapi.Claim, error) {
	return nil, io.ErrUnexpectedEOF
}

func (away) List(context.Context, int) ([]retryapi.Summary, int, error) {
	return nil, 0, io.ErrUnexpectedEOF
}

type fixture struct {
	*retryapi.Handler
	status *int
	id     string
}

// newFixture makes a handler with one parked request, whose next attempt has
// the number 1.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	lot, err := retryapi.NewMemoryLot(retryapi.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	status := 503
	f := &fixture{Handler: &retryapi.Handler{Lot: lot}, status: &status}
	f.Transport = &holdoff.Transport{
		Base: base{&status}, Park: lot, MaxAttempts: 1, MaxWait: -1, Observe: f.Observe, Store: &holdoff.MemoryStore{},
	}
	f.id = f.park(t, "https://api.example.com/v1/things?q=1")
	return f
}

// park sends a request that is given up, and returns its id.
func (f *fixture) park(t *testing.T, url string) string {
	t.Helper()
	var out holdoff.Outcome
	req, err := http.NewRequestWithContext(holdoff.WithOutcome(t.Context(), &out), "PUT", url, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Transport.RoundTrip(req); err != nil || out.Parked == "" {
		t.Fatalf("got %v and %+v, want it parked", err, out)
	}
	return out.Parked
}

func (f *fixture) call(attempt int) string {
	return fmt.Sprintf(`{"id":%q,"attemptNumber":%d,"sleepDuration":0,"jitter":0}`, f.id, attempt)
}

type exchange struct {
	name         string
	method, path string
	body         func(f *fixture) string
	header       []string
	before       func(t *testing.T, f *fixture)
	status       int
	badCall      bool // the description says that the request is wrong
}

func jsonCall(attempt int) func(*fixture) string {
	return func(f *fixture) string { return f.call(attempt) }
}

func text(s string) func(*fixture) string { return func(*fixture) string { return s } }

var exchanges = []exchange{
	{name: "success", method: "POST", path: "/retry", body: jsonCall(1), status: 200,
		before: func(_ *testing.T, f *fixture) { *f.status = 204 }},
	{name: "failure", method: "POST", path: "/retry", body: jsonCall(1), status: 200},
	{name: "redirect", method: "POST", path: "/retry", body: jsonCall(1), status: 200,
		before: func(_ *testing.T, f *fixture) { *f.status = 302 }},
	{name: "held", method: "POST", path: "/retry", body: jsonCall(1), status: 200, before: func(t *testing.T, f *fixture) {
		*f.status = 429
		f.park(t, "https://api.example.com/")
	}},
	{name: "malformed", method: "POST", path: "/retry", body: text(`{`), status: 400, badCall: true},
	{name: "missing", method: "POST", path: "/retry", body: text(`{"id":"x"}`), status: 400, badCall: true},
	{name: "empty id", method: "POST", path: "/retry", body: text(`{"id":"","attemptNumber":1}`), status: 400, badCall: true},
	{name: "long id", method: "POST", path: "/retry", body: text(`{"id":"` + strings.Repeat("x", 129) + `","attemptNumber":1}`), status: 400, badCall: true},
	{name: "negative", method: "POST", path: "/retry", body: jsonCall(-1), status: 400, badCall: true},
	{name: "fractional", method: "POST", path: "/retry", body: text(`{"id":"x","attemptNumber":1.5}`), status: 400, badCall: true},
	{name: "a string for a number", method: "POST", path: "/retry", body: text(`{"id":"x","attemptNumber":"1"}`), status: 400, badCall: true},
	{name: "a number for a string", method: "POST", path: "/retry", body: text(`{"id":1,"attemptNumber":1}`), status: 400, badCall: true},
	{name: "attemptNumber over the bound", method: "POST", path: "/retry", body: text(`{"id":"x","attemptNumber":2147483648}`), status: 400, badCall: true},
	{name: "sleepDuration over the bound", method: "POST", path: "/retry", body: text(`{"id":"x","attemptNumber":1,"sleepDuration":300001}`), status: 400, badCall: true},
	{name: "jitter over the bound", method: "POST", path: "/retry", body: text(`{"id":"x","attemptNumber":1,"jitter":300001}`), status: 400, badCall: true},
	{name: "all at the bounds", method: "POST", path: "/retry", status: 404,
		body: text(`{"id":"` + strings.Repeat("x", 128) + `","attemptNumber":2147483647,"sleepDuration":300000,"jitter":300000}`)},
	{name: "unknown field", method: "POST", path: "/retry", body: text(`{"id":"x","attemptNumber":1,"more":1}`), status: 400, badCall: true},
	{name: "cross-site by Origin", method: "POST", path: "/retry", body: jsonCall(1), status: 403, header: []string{"Origin", "https://evil.example"}},
	{name: "cross-site by Sec-Fetch-Site", method: "POST", path: "/retry", body: jsonCall(1), status: 403, header: []string{"Sec-Fetch-Site", "cross-site"}},
	{name: "another host", method: "POST", path: "/retry", body: jsonCall(1), status: 403, before: otherHosts},
	{name: "unknown id", method: "POST", path: "/retry", body: text(`{"id":"x","attemptNumber":1}`), status: 404},
	{name: "no lot", method: "POST", path: "/retry", body: jsonCall(1), status: 404, before: func(_ *testing.T, f *fixture) { f.Lot = nil }},
	{name: "made already", method: "POST", path: "/retry", body: jsonCall(0), status: 409},
	{name: "in flight", method: "POST", path: "/retry", body: jsonCall(1), status: 409, before: func(t *testing.T, f *fixture) {
		if _, err := f.Lot.Claim(t.Context(), f.id, 1, time.Minute); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "too long", method: "POST", path: "/retry", body: text(`{"id":"x","attemptNumber":1}` + strings.Repeat(" ", 4096)), status: 413},
	{name: "a form", method: "POST", path: "/retry", body: text(`id=1`), status: 415, badCall: true,
		header: []string{"Content-Type", "application/x-www-form-urlencoded"}},
	{name: "store away", method: "POST", path: "/retry", body: jsonCall(1), status: 503, before: func(_ *testing.T, f *fixture) { f.Lot = away{f.Lot} }},

	{name: "state", method: "GET", path: "/state", status: 200},
	{name: "state with a held key and a history", method: "GET", path: "/state?host=api&limit=1000", status: 200, before: func(t *testing.T, f *fixture) {
		*f.status = 429
		f.park(t, "https://api.example.com/")
	}},
	{name: "state with an attempt in flight", method: "GET", path: "/state", status: 200, before: func(t *testing.T, f *fixture) {
		if _, err := f.Lot.Claim(t.Context(), f.id, 1, time.Minute); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "state of nothing", method: "GET", path: "/state?host=nowhere", status: 200},
	{name: "state with the store away", method: "GET", path: "/state", status: 200, before: func(_ *testing.T, f *fixture) { f.Lot = away{f.Lot} }},
	{name: "state, limit over the bound", method: "GET", path: "/state?limit=1001", status: 200, badCall: true},
	{name: "state, head", method: "HEAD", path: "/state", status: 200},
	{name: "page", method: "GET", path: "/", status: 200},
	{name: "page, filtered", method: "GET", path: "/?host=api&limit=3", status: 200},
	{name: "page, head", method: "HEAD", path: "/", status: 200},
	{name: "style", method: "GET", path: "/page.css", status: 200},
	{name: "style, head", method: "HEAD", path: "/page.css", status: 200},
	{name: "script", method: "GET", path: "/page.js", status: 200},
	{name: "script, head", method: "HEAD", path: "/page.js", status: 200},
	{name: "events", method: "GET", path: "/events", status: 200},
	{name: "too many events", method: "GET", path: "/events", status: 503, before: func(t *testing.T, f *fixture) {
		for range 64 {
			ctx, cancel := context.WithCancel(t.Context())
			begun, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				f.ServeHTTP(&firstWrite{httptest.NewRecorder(), begun, false}, httptest.NewRequest("GET", "/events", nil).WithContext(ctx))
			}()
			<-begun
			t.Cleanup(func() {
				cancel()
				<-done
			})
		}
	}},

	{name: "state, another host", method: "GET", path: "/state", status: 403, before: otherHosts},
	{name: "events, another host", method: "GET", path: "/events", status: 403, before: otherHosts},
	{name: "events, cross-site", method: "GET", path: "/events", status: 403, header: []string{"Sec-Fetch-Site", "cross-site"}},
	{name: "page, another host", method: "GET", path: "/", status: 403, before: otherHosts},
	{name: "style, another host", method: "GET", path: "/page.css", status: 403, before: otherHosts},
	{name: "script, another host", method: "GET", path: "/page.js", status: 403, before: otherHosts},

	{name: "method of retry", method: "GET", path: "/retry", status: 405},
	{name: "method of state", method: "POST", path: "/state", status: 405},
	{name: "method of events", method: "POST", path: "/events", status: 405},
	{name: "method of the page", method: "POST", path: "/", status: 405},
	{name: "method of the style", method: "DELETE", path: "/page.css", status: 405},
	{name: "method of the script", method: "PUT", path: "/page.js", status: 405},
}

// otherHosts makes the handler serve another name than the one that is asked for.
func otherHosts(_ *testing.T, f *fixture) { f.Hosts = []string{"localhost"} }

// firstWrite tells when it is first written to.
type firstWrite struct {
	*httptest.ResponseRecorder
	begun chan struct{}
	told  bool
}

func (w *firstWrite) Write(b []byte) (int, error) {
	if !w.told {
		w.told = true
		close(w.begun)
	}
	return w.ResponseRecorder.Write(b)
}

// plain is a body that is text and no JSON, as validators see it.
func plain(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	b, err := io.ReadAll(body)
	return string(b), err
}

func init() {
	for _, kind := range []string{"text/html", "text/css", "text/javascript", "text/event-stream"} {
		openapi3filter.RegisterBodyDecoder(kind, plain)
	}
}

func serve(t *testing.T, f *fixture, e exchange) (*http.Request, []byte, *httptest.ResponseRecorder) {
	t.Helper()
	var body []byte
	if e.body != nil {
		body = []byte(e.body(f))
	}
	newRequest := func() *http.Request {
		req := httptest.NewRequest(e.method, "http://admin.example.com"+e.path, bytes.NewReader(body))
		if e.body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		for i := 0; i+1 < len(e.header); i += 2 {
			req.Header.Set(e.header[i], e.header[i+1])
		}
		return req
	}
	req := newRequest()
	if e.path == "/events" {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		req = req.WithContext(ctx)
	}
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, req)
	return newRequest(), body, rec
}

// route finds the operation of a request. For methods that the description does
// not have, it is one of the path's own.
func route(t *testing.T, router routers.Router, doc *openapi3.T, req *http.Request) (*routers.Route, map[string]string) {
	t.Helper()
	r, params, err := router.FindRoute(req)
	if err == nil {
		return r, params
	}
	item := doc.Paths.Value(req.URL.Path)
	if item == nil {
		t.Fatalf("%s is not described", req.URL.Path)
	}
	for method, op := range item.Operations() {
		if method != http.MethodHead {
			return &routers.Route{Spec: doc, Path: req.URL.Path, PathItem: item, Method: method, Operation: op}, nil
		}
	}
	t.Fatalf("%s has no operation", req.URL.Path)
	return nil, nil
}

func TestHandlerDoesWhatItsDescriptionSays(t *testing.T) {
	doc := load(t)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	covered := map[string]bool{}
	for _, e := range exchanges {
		t.Run(e.name, func(t *testing.T) {
			f := newFixture(t)
			if e.before != nil {
				e.before(t, f)
			}
			req, body, rec := serve(t, f, e)
			if rec.Code != e.status {
				t.Fatalf("got %d: %s; want %d", rec.Code, rec.Body, e.status)
			}
			r, params := route(t, router, doc, req)
			covered[fmt.Sprintf("%s %s %d", r.Method, r.Path, rec.Code)] = true
			options := &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true}
			input := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: r, Options: options}
			if e.status != http.StatusMethodNotAllowed {
				err := openapi3filter.ValidateRequest(t.Context(), input)
				if e.badCall != (err != nil) {
					t.Errorf("got %v of the validator for %.200s; want it to agree with the handler's %d", err, body, rec.Code)
				}
			}
			answer := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: input, Status: rec.Code, Header: rec.Header(), Options: options,
			}
			answer.SetBodyBytes(rec.Body.Bytes())
			if e.method == http.MethodHead {
				answer.SetBodyBytes(nil)
			}
			if err := openapi3filter.ValidateResponse(t.Context(), answer); err != nil {
				t.Errorf("the answer is not what the description says: %v\n%s", err, rec.Body)
			}
		})
	}
	// All that is described is seen.
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if !covered[fmt.Sprintf("%s %s %s", method, path, status)] {
					t.Errorf("%s %s %s is described, and no exchange shows it", method, path, status)
				}
			}
		}
	}
}

// The fields of Go's types and those of the description are the same.
func TestDescriptionHasTheFieldsOfTheTypes(t *testing.T) {
	doc := load(t)
	for name, v := range map[string]any{
		"RetryRequest": retryapi.RetryRequest{}, "RetryResponse": retryapi.RetryResponse{}, "State": retryapi.State{},
		"Key": retryapi.KeyState{}, "Interval": retryapi.Interval{}, "Parked": retryapi.Summary{},
	} {
		schema := doc.Components.Schemas[name].Value
		var fields, required []string
		typ := reflect.TypeOf(v)
		for f := range typ.Fields() {
			field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, field)
			if !strings.Contains(options, "omit") {
				required = append(required, field)
			}
		}
		slices.Sort(fields)
		if got := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(got, fields) {
			t.Errorf("%s: got the properties %v, want %v", name, got, fields)
		}
		if name == "RetryRequest" {
			continue // what is written may be more than what must be read
		}
		slices.Sort(required)
		if got := slices.Sorted(slices.Values(schema.Required)); !slices.Equal(got, required) {
			t.Errorf("%s: got %v required, want %v", name, got, required)
		}
	}
}

// The seeds' fields come first, and in their order.
func TestExamplesOfTheDescriptionHold(t *testing.T) {
	doc := load(t)
	op := doc.Paths.Value("/retry").Post
	media := op.RequestBody.Value.Content["application/json"]
	if err := media.Schema.Value.VisitJSON(media.Example, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("the request's example: %v", err)
	}
	b, err := json.Marshal(media.Example)
	if err != nil {
		t.Fatal(err)
	}
	var call retryapi.RetryRequest
	if err := json.Unmarshal(b, &call); err != nil || call != (retryapi.RetryRequest{ID: "12345", AttemptNumber: 3, SleepDuration: 5000, Jitter: 1000}) {
		t.Errorf("got %+v, %v; want the seeds' example", call, err)
	}
	answers := op.Responses.Value("200").Value.Content["application/json"]
	if len(answers.Examples) == 0 {
		t.Error("got no example of an answer, want some")
	}
	for name, example := range answers.Examples {
		if err := answers.Schema.Value.VisitJSON(example.Value.Value, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("the example %s: %v", name, err)
		}
	}
}

// A description that says less than it seems would pass all of the above.
func TestValidatorSeesWhatIsWrong(t *testing.T) {
	doc := load(t)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse("http://admin.example.com/retry")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		status int
		kind   string
		body   string
	}{
		"a field that is not described":       {200, "application/json", `{"id":"x","attemptNumber":1,"result":"success","status":200,"slept":0,"more":1}`},
		"a failure without its error":         {200, "application/json", `{"id":"x","attemptNumber":1,"result":"failure","slept":0}`},
		"a success with an error":             {200, "application/json", `{"id":"x","attemptNumber":1,"result":"success","status":200,"slept":0,"error":"x"}`},
		"a result that is neither":            {200, "application/json", `{"id":"x","attemptNumber":1,"result":"maybe","status":200,"slept":0}`},
		"a conflict without the next number":  {409, "application/problem+json", `{"type":"about:blank","title":"Conflict","status":409,"detail":"x","field":"attemptNumber"}`},
		"a problem of another type":           {400, "application/json", `{}`},
		"a problem that names no known field": {400, "application/problem+json", `{"type":"about:blank","title":"x","status":400,"detail":"x","field":"y"}`},
		"a status that is not described":      {418, "application/problem+json", `{"type":"about:blank","title":"x","status":418,"detail":"x"}`},
		"a 503 without Retry-After":           {503, "application/problem+json", `{"type":"about:blank","title":"x","status":503,"detail":"x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			req := &http.Request{Method: "POST", URL: address, Header: http.Header{}}
			r, params := route(t, router, doc, req)
			header := http.Header{
				"Content-Type": {tt.kind}, "Content-Security-Policy": {"default-src 'none'"}, "X-Content-Type-Options": {"nosniff"},
				"Referrer-Policy": {"no-referrer"}, "Cache-Control": {"no-store"}, "Content-Length": {strconv.Itoa(len(tt.body))},
			}
			options := &openapi3filter.Options{IncludeResponseStatus: true}
			answer := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: r, Options: options},
				Status:                 tt.status, Header: header, Options: options,
			}
			answer.SetBodyBytes([]byte(tt.body))
			if err := openapi3filter.ValidateResponse(t.Context(), answer); err == nil {
				t.Errorf("the validator takes %d %s", tt.status, tt.body)
			}
		})
	}
}
