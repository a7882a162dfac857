package holdoff_test

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/admission"
	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/quota"
	"github.com/go-holdoff/holdoff/internal/ratelimitheader"
	"github.com/go-holdoff/holdoff/internal/redisstore"
	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/go-holdoff/holdoff/internal/replay"
	"github.com/go-holdoff/holdoff/internal/retrybudget"
)

// What the documents say of the code is checked against the code.

const (
	retryLogic = "docs/RETRY_LOGIC.md"
	behaviour  = "docs/BEHAVIOUR.md"
)

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// table returns the rows of a document's table with that head. Cells lose the
// marks of code where they are nothing else.
func table(t *testing.T, name, head string) [][]string {
	t.Helper()
	_, after, found := strings.Cut(document(t, name), "\n"+head+"\n")
	if !found {
		t.Fatalf("%s has no table with the head %q", name, head)
	}
	var rows [][]string
	for line := range strings.Lines(after) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			break
		}
		if strings.HasPrefix(line, "|---") {
			continue
		}
		row := strings.Split(strings.Trim(line, "|"), " | ")
		for i, cell := range row {
			cell = strings.TrimSpace(cell)
			if inner, ok := strings.CutPrefix(cell, "`"); ok && strings.Count(cell, "`") == 2 {
				cell = strings.TrimSuffix(inner, "`")
			}
			row[i] = cell
		}
		rows = append(rows, row)
	}
	return rows
}

// words is a value as the documents write it.
func words(v any) string {
	switch v := v.(type) {
	case time.Duration:
		switch {
		case v >= time.Minute && v%time.Minute == 0:
			return fmt.Sprintf("%d min", v/time.Minute)
		case v > 0 && v < time.Second:
			return fmt.Sprintf("%d ms", v.Milliseconds())
		}
		return fmt.Sprintf("%v s", v.Seconds())
	case int:
		digits := strconv.Itoa(v)
		for i := len(digits) - 3; i > 0; i -= 3 {
			digits = digits[:i] + "," + digits[i:]
		}
		return digits
	}
	return fmt.Sprint(v)
}

// admissionConstant returns a constant of package admission.
func admissionConstant(name string) any {
	for _, c := range admission.Constants() {
		if c.Name == name {
			return c.Value
		}
	}
	return nil
}

// contextOfAttempt returns the context of an attempt of that number, as Base gets it.
func contextOfAttempt(t *testing.T, method string, n int) (ctx context.Context) {
	t.Helper()
	tr := &holdoff.Transport{Backoff: quick, Base: baseFunc(func(req *http.Request) (*http.Response, error) {
		ctx = req.Context()
		if holdoff.Attempt(ctx) == n {
			return answer(200), nil
		}
		return answer(503), nil
	})}
	if _, err := statusOf(tr, newRequest(t, method, "http://a.example/", "")); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// timeoutOfAttempt returns the error of an attempt that PerAttemptTimeout ended.
func timeoutOfAttempt(t *testing.T) error {
	t.Helper()
	tr := &holdoff.Transport{MaxAttempts: 1, PerAttemptTimeout: 1, Base: baseFunc(func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	})}
	_, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
	return err
}

// defaults are what the fields mean where they are zero.
func defaults() map[string]any {
	return map[string]any{
		"MaxAttempts": holdoff.DefaultAttempts, "MaxWait": holdoff.DefaultMaxWait, "MaxHold": holdoff.DefaultMaxHold, "Budget": retrybudget.Default,
		"PerAttemptTimeout": "none", "Store": "none", "Park": "none", "Logger": "none", "Observe": "none",
		"Backoff": "Exponential{}", "Classify": "DefaultClassify",
		"Exponential.Base": holdoff.Exponential{}.Base, "Exponential.Cap": holdoff.DefaultCap,
	}
}

func TestDocumentedDefaults(t *testing.T) {
	for _, head := range []struct{ file, line string }{
		{"README.md", "| field | default | meaning |"},
		{retryLogic, "| field | default | |"},
		{retryLogic, "| field | default | if it is smaller | if it is larger |"},
	} {
		for _, row := range table(t, head.file, head.line) {
			want, known := defaults()[row[0]]
			if got, _, _ := strings.Cut(row[1], ":"); known && got != words(want) {
				t.Errorf("%s: the default of %s is %q; in the code it is %q", head.file, row[0], row[1], words(want))
			}
		}
	}
}

// The document has every field of a Transport.
func TestDocumentedFields(t *testing.T) {
	var want, got []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[holdoff.Transport]()) {
		if f.IsExported() {
			want = append(want, f.Name)
		}
	}
	for _, row := range table(t, retryLogic, "| field | default | |") {
		got = append(got, row[0])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s has the fields %v; the Transport has %v", retryLogic, got, want)
	}
}

func TestDocumentedConstants(t *testing.T) {
	code := map[string]any{
		"maxLease": hold.MaxLease, "refusalTolerance": hold.RefusalTolerance, "minDecreases": quota.MinDecreases,
		"nearExhaustion": quota.NearExhaustion, "rateWindow": quota.RateWindow, "distrust": quota.Distrust,
		"maxKeys": admissionConstant("maxKeys"), "maxRecords": redisstore.MaxRecords, "replayLimit": replay.Limit,
	}
	for _, c := range hold.Constants() {
		if c.Name != "maxPermits" && c.Name != "maxRate" {
			code[c.Name] = c.Value
		}
	}
	for _, row := range table(t, retryLogic, "| constant | value | what it is |") {
		if want := words(code[row[0]]); code[row[0]] == nil || row[1] != want {
			t.Errorf("%s: %s is %q; in the code it is %q", retryLogic, row[0], row[1], want)
		}
		delete(code, row[0])
	}
	for name := range code {
		t.Errorf("%s does not have %s", retryLogic, name)
	}
}

// What prose says of constants.
func TestDocumentedNumbers(t *testing.T) {
	c := make(map[string]any)
	for _, constant := range hold.Constants() {
		c[constant.Name] = constant.Value
	}
	for _, say := range []struct {
		file, format string
		values       []any
	}{
		{retryLogic, "cap %s, full jitter", []any{holdoff.DefaultCap}},
		{behaviour, "after backoff of up to %s, then %s, %s", []any{holdoff.ThrottledBase, 2 * holdoff.ThrottledBase, 4 * holdoff.ThrottledBase}},
		{behaviour, "| %s failures in a row, no store | The host is held: %s, then 1 s, then %s,", []any{c["tripAfter"], c["holdBase"], c["holdCap"]}},
		{retryLogic, "clamp(2 · srtt, %s, %s) %s while", []any{holdoff.MinBase, holdoff.MaxBase, holdoff.UnknownBase}},
		{retryLogic, "Base = %s after a refusal without", []any{holdoff.ThrottledBase}},
		{retryLogic, "max(hint/2, %s)", []any{holdoff.MinSpread}},
		{retryLogic, "min(%s · 2ˡᵉᵛᵉˡ, %s)", []any{c["holdBase"], c["holdCap"]}},
		{retryLogic, "clamp(4 · srtt, %s, %s)", []any{c["minLease"], hold.MaxLease}},
		{retryLogic, "clamp(%s / rate, %s, max(%s, 1 / rate))", []any{c["sendsPerSlot"], hold.Slot, c["maxSlot"]}},
		{retryLogic, "left alone for %s, then 8 s, up to %s", []any{c["pacingCooldown"], c["pacingCooldown"].(time.Duration) << c["maxCooldownDoublings"].(int)}},
		{retryLogic, "For %s, or as long as", []any{c["measureWindow"]}},
		{retryLogic, "nobody was denied one for %s", []any{c["idleAfter"]}},
		{retryLogic, "no further than %s KiB and for no longer than %s", []any{replay.DrainLimit >> 10, replay.DrainTime}},
		{retryLogic, "and up to %s KiB of what is read", []any{replay.Limit >> 10}},
		{retryLogic, "%s at most, within %s at random", []any{admissionConstant("maxWant"), admissionConstant("askSpread")}},
		{"docs/OPERATIONS.md", "At most %s keys are shared", []any{redisstore.MaxRecords}},
		{"docs/OPERATIONS.md", "at most %s keys of its own", []any{admissionConstant("maxKeys")}},
		{"docs/OPERATIONS.md", "(a command takes longer than `Timeout`, %s)", []any{admissionConstant("storeTimeout")}},
	} {
		for i, v := range say.values {
			say.values[i] = words(v)
		}
		want := fmt.Sprintf(say.format, say.values...)
		if text := strings.Join(strings.Fields(document(t, say.file)), " "); !strings.Contains(text, want) {
			t.Errorf("%s does not say %q", say.file, want)
		}
	}
}

func TestDocumentedPhases(t *testing.T) {
	var got []string
	for _, row := range table(t, retryLogic, "| phase | N | T | at T |") {
		got = append(got, row[0])
	}
	var want []string
	for p := holdoff.Healthy; p <= holdoff.Rationed; p++ {
		want = append(want, p.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has the phases %v; the code has %v", retryLogic, got, want)
	}
}

func TestDocumentedEndings(t *testing.T) {
	var got []string
	for _, row := range table(t, retryLogic, "| ending | when |") {
		got = append(got, row[0])
	}
	want := []string{string(holdoff.EndFinal), string(holdoff.EndNoRetry), string(holdoff.EndAttempts), string(holdoff.EndWait), string(holdoff.EndBody), string(holdoff.EndBudget)}
	if !slices.Equal(got, want) {
		t.Errorf("%s has the endings %v; want %v", retryLogic, got, want)
	}
	for _, e := range []holdoff.Ending{holdoff.EndDone, holdoff.EndHeld, holdoff.EndContext} {
		if !strings.Contains(document(t, retryLogic), "`"+string(e)+"`") {
			t.Errorf("%s does not speak of the ending %q", retryLogic, e)
		}
	}
}

var (
	statusRange = regexp.MustCompile(`\b(\d{3}) to (\d{3})\b`)
	statusCode  = regexp.MustCompile(`\b\d{3}\b`)
)

// statusesOf are the status codes of a row, other than those of other rows where
// it speaks of any other.
func statusesOf(cell string, named map[int]bool) (codes []int) {
	first, last := 0, -1
	if m := statusRange.FindStringSubmatch(cell); m != nil {
		first, _ = strconv.Atoi(m[1])
		last, _ = strconv.Atoi(m[2])
	} else if class, ok := strings.CutPrefix(cell, "any other "); ok {
		first = int(class[0]-'0') * 100
		last = first + 99
	} else {
		for _, code := range statusCode.FindAllString(cell, -1) {
			n, _ := strconv.Atoi(code)
			codes = append(codes, n)
		}
		return codes
	}
	for code := first; code <= last; code++ {
		if !named[code] {
			codes = append(codes, code)
		}
	}
	return codes
}

func TestDocumentedStatuses(t *testing.T) {
	rows := table(t, retryLogic, "| status | idempotent request | other request | teaches | reason |")
	named, hinted, seen := make(map[int]bool), make(map[int]bool), make(map[int]bool)
	for _, row := range rows {
		if strings.HasSuffix(row[0], "with a hint") {
			for _, code := range statusesOf(row[0], nil) {
				hinted[code] = true // a row of its own
			}
		}
		if strings.Trim(row[0], "0123456789, ") == "" { // whatever else the response says
			for _, code := range statusesOf(row[0], nil) {
				named[code] = true
			}
		}
	}
	for _, row := range rows {
		ctx, header, hint := context.Background(), http.Header{}, "Retry-After: 1"
		if strings.Contains(row[0], "to a retry with an Idempotency-Key") {
			ctx = contextOfAttempt(t, "GET", 1)
			header.Set("Idempotency-Key", "1")
		}
		if strings.Contains(row[0], "only-if-cached") {
			header.Set("Cache-Control", "only-if-cached")
		}
		for _, code := range statusesOf(row[0], named) {
			seen[code] = true
			judge := func(method string, headers ...string) holdoff.Verdict {
				req := newRequest(t, method, "https://api.example.com/", "").WithContext(ctx)
				req.Header = header
				return holdoff.DefaultClassify(req, answer(code, headers...), nil)
			}
			var always []string
			if strings.Contains(row[0], "with a hint") {
				always = []string{hint}
			}
			v := judge("GET", always...)
			if got := yes(v.Retry); got != row[1] || v.Lesson.String() != row[3] || v.Reason != row[4] {
				t.Errorf("%d, GET: retry %s, %v, %q; the row is %q", code, got, v.Lesson, v.Reason, row)
			}
			got := yes(judge("POST", always...).Retry)
			if got == "no" && len(always) == 0 && !hinted[code] && judge("POST", hint).Retry {
				got = "with a hint"
			}
			if got != row[2] {
				t.Errorf("%d, POST: %s; the row is %q", code, got, row)
			}
		}
	}
	for code := 200; code < 600; code++ {
		if !seen[code] {
			t.Errorf("no row speaks of %d", code)
		}
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func TestDocumentedErrors(t *testing.T) {
	examples := map[string][]error{ // in the order of the rows
		"certificate or TLS": {x509.UnknownAuthorityError{}},
		"no such host":       {&net.DNSError{IsNotFound: true}},
		"name lookup":        {&net.DNSError{IsTemporary: true}},
		"refused stream":     {streamError{Code: refusedStream}},
		"dial":               {&net.OpError{Op: "dial", Err: errors.New("refused")}},
		"held below":         {&holdoff.HeldError{}},
		"proxy":              {errors.New("Bad Gateway")},
		"timeout":            {timeoutOfAttempt(t)},
		"canceled below":     {context.Canceled},
		"connection closed":  {net.ErrClosed, errors.New(holdoff.IdleClosedText)},
		"connection broken":  {io.ErrUnexpectedEOF},
		"goaway":             {errors.New(holdoff.GoAwayFirstText + "INTERNAL_ERROR"), GoAwayError{LastStreamID: 1}, GoAwayError{LastStreamID: 1, ErrCode: 1}},
		"error":              {errors.New("Forbidden")},
	}
	judge := func(method string, ctx context.Context, err error) holdoff.Verdict {
		return holdoff.DefaultClassify(newRequest(t, method, "https://api.example.com/", "").WithContext(ctx), nil, err)
	}
	unsent := contextOfAttempt(t, "POST", 0)
	httptrace.ContextClientTrace(unsent).GetConn("api.example.com:443")
	ended, end := context.WithCancel(t.Context())
	end()
	for _, row := range table(t, retryLogic, "| error | idempotent request | other request | teaches | reason |") {
		ctx, err := t.Context(), error(nil)
		switch left := examples[row[4]]; {
		case row[4] == string(holdoff.EndContext):
			ctx, err = ended, io.ErrUnexpectedEOF
		case len(left) == 0:
			t.Errorf("there is no example of %q", row)
			continue
		default:
			err, examples[row[4]] = left[0], left[1:]
		}
		v := judge("GET", ctx, err)
		other := yes(judge("POST", ctx, err).Retry)
		if other == "no" && ctx != ended && judge("POST", unsent, err).Retry {
			other = "if it never left"
		}
		if got := yes(v.Retry); got != row[1] || other != row[2] || v.Lesson.String() != row[3] || v.Reason != row[4] {
			t.Errorf("%v: GET %s, POST %s, %v, %q; the row is %q", err, got, other, v.Lesson, v.Reason, row)
		}
	}
	for reason, left := range examples {
		if len(left) > 0 {
			t.Errorf("%d rows with the reason %q are missing", len(left), reason)
		}
	}
}

func TestDocumentedHints(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	rows := append(table(t, retryLogic, "| header | asks for |"), table(t, retryLogic, "| headers | ask for |")...)
	for _, row := range rows {
		got := "no hint"
		headers := strings.Split(strings.Trim(row[0], "`"), "`, `")
		switch hint := ratelimitheader.Read(answer(429, headers...), now); {
		case hint.Found && hint.Delay == 0:
			got = "nothing ahead"
		case hint.Found:
			got = words(hint.Delay)
		}
		if got != row[1] {
			t.Errorf("%s: asks for %s; the row says %s", row[0], got, row[1])
		}
	}
}

// figure returns the block of a document that follows a mark.
func figure(t *testing.T, mark string) string {
	t.Helper()
	_, after, found := strings.Cut(document(t, retryLogic), "<!-- "+mark+" -->\n```\n")
	text, _, closed := strings.Cut(after, "```\n")
	if !found || !closed {
		t.Fatalf("%s has no block after <!-- %s -->", retryLogic, mark)
	}
	return text
}

func TestDocumentedTimelineOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var got strings.Builder
		hinted := false
		transport := &holdoff.Transport{
			Base: script(
				503, &net.OpError{Op: "dial", Err: errors.New("refused")}, with(429, "Retry-After: 1"), 200,
			),
			Backoff: holdoff.Exponential{Jitter: holdoff.NoJitter},
			Observe: func(_ context.Context, e holdoff.Event) {
				at := fmt.Sprintf("%5d ms", time.Since(start).Milliseconds())
				switch {
				case e.Kind == holdoff.Attempted && hinted:
					fmt.Fprintf(&got, "  then    attempt %d: %s\n", e.Attempt, e.Reason)
				case e.Kind == holdoff.Attempted:
					fmt.Fprintf(&got, "%s  attempt %d: %s", at, e.Attempt, e.Reason)
					if hinted = e.Status == 429; hinted {
						got.WriteString(", Retry-After: 1")
					}
					got.WriteString("\n")
				case hinted && e.Wait >= time.Second && e.Wait <= 1500*time.Millisecond:
					fmt.Fprintf(&got, "          wait 1000 ms, and up to 500 ms of jitter\n")
				default:
					fmt.Fprintf(&got, "          wait %d ms\n", e.Wait.Milliseconds())
				}
			},
		}
		resp, err := transport.RoundTrip(newRequest(t, "GET", "https://api.example.com/", ""))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := figure(t, "timeline of a request"); got.String() != want {
			t.Errorf("the timeline is\n%s\n%s has\n%s", got.String(), retryLogic, want)
		}
	})
}

func TestDocumentedTimelineOfAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		sent, phase := make(map[time.Duration]int), make(map[time.Duration]string)
		transport := &holdoff.Transport{
			Base: baseFunc(func(*http.Request) (*http.Response, error) {
				at := time.Since(start)
				mu.Lock()
				sent[at]++
				mu.Unlock()
				time.Sleep(25 * time.Millisecond)
				if at == 0 {
					return answer(429, "Retry-After: 3"), nil
				}
				return answer(200), nil
			}),
			Observe: func(_ context.Context, e holdoff.Event) {
				mu.Lock()
				defer mu.Unlock()
				switch e.Kind {
				case holdoff.HoldStarted, holdoff.HoldChanged, holdoff.HoldEnded:
					phase[time.Since(start)] = e.Phase.String()
				}
			},
		}
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				resp, err := transport.RoundTrip(newRequest(t, "GET", "https://api.example.com/", ""))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()

		var got strings.Builder
		times := slices.Concat(slices.Collect(maps.Keys(sent)), slices.Collect(maps.Keys(phase)))
		slices.Sort(times)
		now := "healthy"
		for _, at := range slices.Compact(times) {
			now = cmp.Or(phase[at], now)
			line := fmt.Sprintf("%5d ms  %-8s", at.Milliseconds(), now)
			if n := sent[at]; n > 0 {
				line += fmt.Sprintf("  sends %d", n)
			}
			got.WriteString(strings.TrimRight(line, " ") + "\n")
		}
		if want := figure(t, "timeline of a key"); got.String() != want {
			t.Errorf("the timeline is\n%s\n%s has\n%s", got.String(), retryLogic, want)
		}
	})
}

// The fields of a record are those of the document, one for one, once there were a
// witness and a decision; and the session shows those of a record with a hint alone.
func TestDocumentedRecord(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	store := redisStore(t, rdb, holdoff.RedisOptions{Namespace: "billing"})
	tell(t, store, "https://api.example.com", holdoff.Report{Status: 429, Hint: 30 * time.Second, ServerDirected: true})

	fields := func(key string) []string {
		got, err := rdb.HKeys(t.Context(), recordName("billing", key)).Result()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	shown := fields("https://api.example.com")
	session := document(t, retryLogic)
	names, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.Contains(session, "\n"+name+"\n") {
			t.Errorf("the session does not show %s", name)
		}
	}
	for _, field := range shown {
		if !strings.Contains(session, "\n"+field+"\t") {
			t.Errorf("the session does not show the field %s", field)
		}
	}
	for field := range rdb.HGetAll(t.Context(), redisName("billing", "meta")).Val() {
		if !strings.Contains(session, "\n"+field+"\t") {
			t.Errorf("the session does not show meta's %s", field)
		}
	}

	const all = "https://all.example.com"
	if err := store.Clear(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // what was sent before is ignored
	tell(t, store, all, holdoff.Report{Status: 503, Failures: 1})
	tell(t, store, all, holdoff.Report{Status: 429, Refusals: 1})
	var want []string
	for _, row := range table(t, retryLogic, "| record | type | |") {
		want = append(want, row[0])
	}
	got := fields(all)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s has the fields\n%v\nand a record\n%v", retryLogic, want, got)
	}
}

// The log that the document shows has the fields that are logged.
func TestDocumentedLog(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	synctest.Test(t, func(t *testing.T) {
		answers := script(with(429, "Retry-After: 30"), 200)
		tr := &holdoff.Transport{Logger: zap.New(core), Base: baseFunc(func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Millisecond)
			return answers.RoundTrip(req)
		})}
		wants(t, tr, "https://api.example.com/", 200)
		time.Sleep(time.Second)
	})
	known := make(map[string]map[string]any)
	for _, entry := range logs.All() {
		if known[entry.Message] == nil {
			known[entry.Message] = make(map[string]any)
		}
		maps.Copy(known[entry.Message], entry.ContextMap())
	}
	lines := regexp.MustCompile(`(?m)^(?:DEBUG|INFO) +(\w+(?: \w+)?) +(\{.*\})$`).FindAllStringSubmatch(document(t, retryLogic), -1)
	if len(lines) == 0 {
		t.Errorf("%s shows no log", retryLogic)
	}
	for _, line := range lines {
		var shown map[string]any
		if err := json.Unmarshal([]byte(line[2]), &shown); err != nil {
			t.Errorf("%s: %v", line[0], err)
		}
		for name := range shown {
			if _, ok := known[line[1]][name]; !ok {
				t.Errorf("%s: there is no field %q of %q", retryLogic, name, line[1])
			}
		}
	}
}
