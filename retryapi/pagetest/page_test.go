// Package pagetest holds the status page of package retryapi against a real
// browser. It is a module of its own, so that nobody inherits what drives that.
package pagetest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/retryapi"
)

var browser context.Context // of one Chromium for all tests; nil where there is none

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = cmp.Or(path, p)
		}
	}
	if path == "" {
		return m.Run() // each test says what is missing
	}
	profile, err := os.MkdirTemp("", "holdoff-chromium-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(profile)
	allocator, end := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(profile), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP rebound.example 127.0.0.1"),
	)
	defer end()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	if err := chromedp.Do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pagetest: chromium does not start:", err)
		return 1
	}
	browser = ctx
	return m.Run()
}

// tab is a tab of the browser.
type tab struct {
	*testing.T
	ctx context.Context

	mu      sync.Mutex
	console []string // whatever was said there
}

// open opens url in a new tab, and fails the test at its end if anything is in
// the console.
func open(t *testing.T, url string, before ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	if browser == nil {
		if os.Getenv("HOLDOFF_CHROMIUM") == "required" {
			t.Fatal("there is no chromium, and HOLDOFF_CHROMIUM is required")
		}
		t.Skip("there is no chromium: the page isn't looked at")
	}
	b := &tab{T: t}
	say := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.console = append(b.console, fmt.Sprintf(format, args...))
	}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			say("console.%s: %v", e.Type, e.Args)
		case *runtime.EventExceptionThrown:
			say("%v", e.ExceptionDetails)
		case *log.EventEntryAdded:
			say("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	}))
	t.Cleanup(cancel)
	b.ctx = ctx
	if err := chromedp.Do(ctx); err != nil { // with a timeout, the tab would end with it
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.console) > 0 {
			t.Errorf("in the console: %s", strings.Join(b.console, "\n"))
		}
	})
	b.run(before...)
	b.run(chromedp.Navigate(url))
	return b
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	run(b, chromedp.Steps(actions...))
}

func run[T any](b *tab, action chromedp.Action[T]) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// eval returns what a JavaScript expression comes to.
func eval[T any](b *tab, js string) T {
	b.Helper()
	return run(b, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// call makes an action of a command of the browser's protocol.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

var noScript = call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})

// until waits for a JavaScript expression to become true.
func (b *tab) until(js string) {
	b.Helper()
	for begun := time.Now(); !eval[bool](b, js); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			b.Fatalf("%s never came to be; the page has:\n%s", js, eval[string](b, "document.body.innerText"))
		}
	}
}

func (b *tab) untilLive() {
	b.Helper()
	b.until(`document.querySelector("#live").textContent === "Live"`)
}

// text is a JavaScript expression for the text of what a selector finds.
func text(selector string) string {
	return fmt.Sprintf("(document.querySelector(%q)?.innerText ?? '')", selector)
}

func key(name string) string { return fmt.Sprintf(`#keys li[data-id="%s"]`, name) }

// service is a client with the page, and the servers that it calls.
type service struct {
	*testing.T
	handler *retryapi.Handler
	url     string // of the page

	mu     sync.Mutex
	answer map[string]answer // by host
	bodies []string          // that the servers got
}

type answer struct {
	status int
	after  string // Retry-After
}

func start(t *testing.T) *service {
	t.Helper()
	lot, err := retryapi.NewMemoryLot(retryapi.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	s := &service{T: t, handler: &retryapi.Handler{Lot: lot}, answer: make(map[string]answer)}
	s.handler.Transport = &holdoff.Transport{
		Base: s, Park: lot, Observe: s.handler.Observe, MaxAttempts: 2, MaxWait: 2 * time.Second,
		// What the user's own keys are called is up to the user.
		Key: func(r *http.Request) string { return r.Header.Get("X-Key") },
	}
	mux := http.NewServeMux()
	mux.Handle("/internal/holds/", s.handler)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections() // of pages that are open
		server.Close()
	})
	s.url = server.URL + "/internal/holds/"
	return s
}

// RoundTrip is all servers.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(b)
		r.Body.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, body)
	a, ok := s.answer[r.URL.Host]
	if !ok {
		a.status = http.StatusOK
	}
	header := http.Header{}
	if a.after != "" {
		header.Set("Retry-After", a.after)
	}
	return &http.Response{StatusCode: a.status, Header: header, Body: http.NoBody, Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

func (s *service) set(host string, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer[host] = a
}

// send makes a request, and returns the id under which it was parked, if it was.
func (s *service) send(method, url, body, key string) string {
	s.Helper()
	var out holdoff.Outcome
	ctx := holdoff.WithIdempotent(holdoff.WithOutcome(s.Context(), &out))
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("X-Key", key)
	if resp, err := s.handler.Transport.RoundTrip(req); err == nil {
		resp.Body.Close()
	}
	return out.Parked
}

func TestHold(t *testing.T) {
	s := start(t)
	b := open(t, s.url)
	b.untilLive()
	if got := eval[string](b, text("h1")); got != "Nothing is held." {
		t.Errorf("got %q, want that nothing is held", got)
	}

	s.set("api.example", answer{http.StatusTooManyRequests, "8"})
	s.send(http.MethodGet, "http://api.example/", "", "")
	row := key("http://api.example /") // its route
	b.until(text("h1") + ` === "1 key is held."`)
	if got := eval[string](b, "document.title"); !strings.HasPrefix(got, "1 key is held.") {
		t.Errorf("got the title %q", got)
	}
	b.until(text(row+" [data-f=stands]") + `.startsWith("held for ")`)
	if got, want := eval[string](b, text(row+" [data-f=why]")), "429 Too Many Requests, the server asked for it"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	const left = ` [data-f=part]").getAttribute("width"))`
	width := func() int {
		return eval[int](b, `Number(document.querySelector("`+strings.ReplaceAll(row, `"`, `\"`)+left)
	}
	words, before := eval[string](b, text(row+" [data-f=stands]")), width()
	if before <= 0 || before > 1000 {
		t.Errorf("the bar is %d wide, want a part of 1000", before)
	}
	b.until(text(row+" [data-f=stands]") + fmt.Sprintf(" !== %q", words))
	b.until(`document.querySelector("#keys [data-f=part]").getAttribute("width") < ` + fmt.Sprint(before))
	if n := eval[int](b, `document.querySelectorAll("#keys .chart rect").length`); n != 1 {
		t.Errorf("the chart has %d bars, want 1", n)
	}

	// Nobody asks: the hold is over, which is not to be well.
	s.set("api.example", answer{http.StatusOK, ""})
	b.until(text(row+" [data-f=stands]") + ` === "the hold is over; the next request is the probe"`)
	b.until(text("h1") + ` === "Nothing is held, 1 key is recovering."`)
	for begun := time.Now(); eval[string](b, text("h1")) != "Nothing is held."; {
		s.send(http.MethodGet, "http://api.example/", "", "")
		if time.Since(begun) > time.Minute {
			t.Fatal("the hold never ends")
		}
	}
	b.until(`document.querySelector("#keys").children.length === 0 && !document.querySelector("#no-keys").hidden`)
}

func TestFilter(t *testing.T) {
	s := start(t)
	for _, host := range []string{"api.one.example", "api.two.example", "files.example"} {
		s.set(host, answer{http.StatusServiceUnavailable, "60"})
		s.send(http.MethodPost, "http://"+host+"/x", "body", "")
	}
	b := open(t, s.url)
	b.untilLive()
	b.run(chromedp.SendKeys(chromedp.CSS("#host"), "API"), chromedp.Submit(chromedp.CSS("#host")))
	b.until(`location.search.includes("host=API")`)
	b.untilLive()
	for selector, want := range map[string]string{
		"h1": "3 keys are held.", "#keys-shown": "showing 2 of 3", "#parked-shown": "showing 2 of 3",
	} {
		if got := eval[string](b, text(selector)); got != want {
			t.Errorf("%s: got %q, want %q", selector, got, want)
		}
	}
	if n := eval[int](b, `document.querySelectorAll("#keys li").length`); n != 2 {
		t.Errorf("got %d keys, want 2", n)
	}
	// What comes later is filtered too.
	s.set("api.three.example", answer{http.StatusServiceUnavailable, "60"})
	s.set("web.example", answer{http.StatusServiceUnavailable, "60"})
	s.send(http.MethodGet, "http://web.example/", "", "")
	s.send(http.MethodGet, "http://api.three.example/", "", "")
	b.until(text("#keys-shown") + ` === "showing 3 of 5"`)
	b.run(chromedp.Click(chromedp.CSS("form a")))
	b.until(`location.search === "" && document.querySelectorAll("#keys li").length === 5`)
	b.untilLive()
}

func TestRetry(t *testing.T) {
	s := start(t)
	s.set("mail.example", answer{http.StatusBadGateway, ""})
	id := s.send(http.MethodPost, "http://mail.example/messages?secret=1", "Dear reader", "")
	if id == "" {
		t.Fatal("the request was not parked")
	}
	b := open(t, s.url)
	b.untilLive()
	row := fmt.Sprintf("#parked li[data-id='%s']", id)
	if got := eval[string](b, text(row+" h3")); got != "POST http://mail.example/messages" {
		t.Errorf("got %q", got)
	}
	if got, want := eval[string](b, text(row+" [data-f=words]")), "all attempts failed; last: 502 Bad Gateway"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := eval[string](b, text(row+" [data-f=attempts]")); got != "2" {
		t.Errorf("got %s attempts, want 2", got)
	}

	b.run(chromedp.Click(row + " button"))
	b.until(text(row+" output") + ` === "Failed: the server answered 502 Bad Gateway"`)
	b.until(text(row+" [data-f=attempts]") + ` === "3"`)

	// Somebody else was faster.
	resp, err := http.Post(s.url+"retry", "application/json", strings.NewReader(fmt.Sprintf(`{"id":%q,"attemptNumber":3}`, id)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	b.until(text(row+" [data-f=attempts]") + ` === "4"`)

	s.set("mail.example", answer{http.StatusOK, ""})
	b.run(chromedp.Focus(chromedp.CSS(row+" button")), chromedp.KeyEvent("\r"))
	b.until(text(row+" output") + ` === "Success: 200"`)
	if !eval[bool](b, `document.activeElement === document.querySelector("#parked output")`) {
		t.Error("the focus is lost")
	}
	b.until(text("#parked-shown") + ` === "0"`)
	if eval[string](b, text(row+" output")) != "Success: 200" || eval[bool](b, `!!document.querySelector("#parked button")`) {
		t.Error("the result is gone, or the button isn't")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.bodies[len(s.bodies)-1]; got != "Dear reader" {
		t.Errorf("the server got %q, want what was parked", got)
	}
}

// TestAim parks another request while somebody aims at a button.
func TestAim(t *testing.T) {
	s := start(t)
	s.set("mail.example", answer{http.StatusBadGateway, ""})
	id := s.send(http.MethodPost, "http://mail.example/1", "x", "")
	b := open(t, s.url)
	b.untilLive()
	const first = `document.querySelector("#parked li").dataset.id`
	point := func(event string) {
		eval[bool](b, fmt.Sprintf(`document.querySelector("#parked").dispatchEvent(new PointerEvent(%q))`, event))
	}
	point("pointerenter")
	later := s.send(http.MethodPost, "http://mail.example/2", "x", "")
	b.until(text("#parked-shown") + ` === "2"`)
	if got := eval[string](b, first); got != id {
		t.Error("the list moved under the pointer")
	}
	point("pointerleave")
	b.until(first + fmt.Sprintf(" === %q", later))
}

// TestConflict has a tab of its own: the browser notes each status above 399 in
// the console, whatever the script makes of it.
func TestConflict(t *testing.T) {
	s := start(t)
	s.set("mail.example", answer{http.StatusBadGateway, ""})
	id := s.send(http.MethodPost, "http://mail.example/", "x", "")
	b := open(t, s.url)
	b.untilLive()
	eval[bool](b, `{ const row = document.querySelector("#parked li"); row.dataset.attempt = 7; row.querySelector("button").click(); true }`)
	b.until(text("#parked output") + ` === "Conflict: the next attempt has the number 2"`)
	b.run(chromedp.Click(chromedp.CSS("#parked button")))
	b.until(text("#parked output") + `.startsWith("Failed: ")`)
	if c, err := s.handler.Lot.Claim(t.Context(), id, 3, time.Minute); err != nil {
		t.Error(err)
	} else if err := s.handler.Lot.Settle(t.Context(), c, retryapi.Result{Sent: true, Good: true}); err != nil {
		t.Error(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.console) != 1 || !strings.Contains(b.console[0], "409") {
		t.Errorf("got %q in the console, want the 409", b.console)
	}
	b.console = nil
}

func TestConnectionLost(t *testing.T) {
	s := start(t)
	var down sync.RWMutex // is locked while the page is out of reach
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !down.TryRLock() {
			panic(http.ErrAbortHandler)
		}
		down.RUnlock()
		s.handler.ServeHTTP(w, r)
	}))
	defer gate.Close()
	defer gate.CloseClientConnections()
	gate.Config.ErrorLog = nil
	b := open(t, gate.URL+"/")
	b.untilLive()
	down.Lock()
	gate.CloseClientConnections()
	b.until(`!document.querySelector("#lost").hidden && ` + text("#lost") + `.startsWith("The connection is lost.") && ` + text("#live") + ` === "Not live"`)
	down.Unlock()
	b.untilLive()
	b.until(`document.querySelector("#lost").hidden`)
	b.run(chromedp.Navigate("about:blank")) // which does not mind that the server goes
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.console {
		if !strings.Contains(line, "net::ERR_") { // these are the browser's own
			t.Errorf("in the console: %s", line)
		}
	}
	b.console = nil
}

func TestWithoutScript(t *testing.T) {
	s := start(t)
	s.set("api.example", answer{http.StatusTooManyRequests, "60"})
	s.send(http.MethodPost, "http://api.example/charges", "x", "")
	b := open(t, s.url, noScript)
	b.until(`document.body.innerText.includes("http://api.example")`) // rows that were not drawn yet have no text
	got := eval[string](b, "document.body.innerText")
	for _, want := range []string{
		"1 key is held.", "http://api.example", "held for ", "429 Too Many Requests", "POST http://api.example/charges",
		"the next wait was too long; last: 429 Too Many Requests", "Reload the page", "There is no store",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page doesn't say %q", want)
		}
	}
	if strings.Contains(got, "Retry\n") || eval[bool](b, `[...document.querySelectorAll("button")].some((e) => e.checkVisibility() && e.textContent === "Retry")`) {
		t.Errorf("there is a button that does nothing")
	}
	if n := eval[int](b, `Number(document.querySelector("#keys [data-f=part]").getAttribute("width"))`); n < 900 || n > 1000 {
		t.Errorf("the bar is %d wide, want nearly 1000", n)
	}
	b.run(chromedp.SendKeys(chromedp.CSS("#host"), "elsewhere"), chromedp.Click(chromedp.CSS("form button")))
	b.until(`location.search.includes("elsewhere")`)
	b.until(text("#no-keys") + ` === "No key that matches is held or failing."`)
	if t.Failed() {
		t.Log(got)
	}
}

func TestHostile(t *testing.T) {
	const name = `<script>document.title="mine"</script>"'><img src=x onerror=alert(1)>&amp;{{.}}`
	s := start(t)
	s.set("evil.example", answer{http.StatusTooManyRequests, "60"})
	check := func(b *tab) {
		t.Helper()
		if n := eval[int](b, `document.querySelectorAll("script, img, iframe").length`); n != 1 {
			t.Errorf("got %d scripts and images, want the page's own script", n)
		}
		if n := eval[int](b, `document.querySelectorAll("h3 *:not([data-f])").length`); n != 0 {
			t.Errorf("got %d elements in names", n)
		}
		record := strings.ReplaceAll(name, " ", "%20") + " /*" // a space ends the key; then its route
		if got := eval[string](b, `document.querySelector("#keys h3").textContent`); got != record {
			t.Errorf("got the record %q, want %q", got, record)
		}
		if got := eval[string](b, `document.querySelector("#parked [data-f=url]").textContent`); !strings.HasPrefix(got, "http://evil.example/") {
			t.Errorf("got the URL %q", got)
		}
	}
	b := open(t, s.url)
	b.untilLive()
	// Once as the script shows it, and once as the server does.
	s.send("QUERY", `http://evil.example/%22%3E%3Cscript%3E'"`, "x", name)
	b.until(`!!document.querySelector("#keys li") && !!document.querySelector("#parked li")`)
	check(b)
	check(open(t, s.url, noScript))

	filter := `?host=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&limit=%22%3E`
	b = open(t, s.url+filter)
	b.untilLive()
	if got := eval[string](b, `document.querySelector("#host").value`); got != `"><script>alert(1)</script>` {
		t.Errorf("got the filter %q", got)
	}
	if n := eval[int](b, `document.querySelectorAll("script").length`); n != 1 {
		t.Errorf("got %d scripts, want the page's own", n)
	}
}

func TestThousands(t *testing.T) {
	s := start(t)
	const n = 3000
	for i := range n {
		host := fmt.Sprintf("h%04d.example", i)
		s.set(host, answer{http.StatusTooManyRequests, "120"})
		s.send(http.MethodGet, "http://"+host+"/", "", "")
	}
	b := open(t, s.url+"?limit=1000")
	b.untilLive()
	if got := eval[string](b, text("#keys-shown")); got != "showing 1000 of 3000" {
		t.Errorf("got %q", got)
	}
	// The script leaves the page some time to breathe.
	busy := eval[float64](b, `new Promise((done) => {
		const begun = performance.now(); let turns = 0;
		const turn = () => ++turns < 20 ? setTimeout(turn, 50) : done(performance.now() - begun);
		turn();
	})`)
	t.Logf("20 turns of 50 ms took %.0f ms", busy)
	resp, err := http.Get(s.url + "state?limit=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var state retryapi.State
	if err := json.NewDecoder(resp.Body).Decode(&state); err != nil || state.Totals.Keys != n {
		t.Errorf("got %+v, %v, want %d keys", state.Totals, err, n)
	}
}
