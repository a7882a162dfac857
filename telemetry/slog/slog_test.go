package holdoffslog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/go-holdoff/holdoff"
)

// base answers each request with the next status; 0 is an error, 429 has a hint. It
// takes a while, so that what others report of a hold is in the log before.
type base struct{ statuses []int }

const target = "http://user:secret@h/path?token=1"

func (b *base) RoundTrip(*http.Request) (*http.Response, error) {
	time.Sleep(50 * time.Millisecond)
	status := b.statuses[0]
	b.statuses = b.statuses[1:]
	if status == 0 {
		return nil, &url.Error{Op: "Get", URL: target, Err: errors.New("broken")}
	}
	w := httptest.NewRecorder()
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	return w.Result(), nil
}

// play sends requests, over a hold and into an error.
func play(t *testing.T, transport *holdoff.Transport) {
	transport.Base = &base{[]int{429, 200, 0}}
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := transport.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
		time.Sleep(time.Second)
	}
}

// records are the lines of a JSON log.
func records(t *testing.T, log []byte) (list []map[string]any) {
	for line := range bytes.Lines(log) {
		var r map[string]any
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		delete(r, "time")
		list = append(list, r)
	}
	return list
}

func TestWhatComesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		play(t, &holdoff.Transport{Observe: Observe(logger)})

		var lines []string
		for _, r := range records(t, log.Bytes()) {
			lines = append(lines, r["level"].(string)+" "+r["msg"].(string))
		}
		want := []string{
			"DEBUG attempt", "INFO hold started", "DEBUG waiting", "DEBUG hold changed",
			"DEBUG attempt", "DEBUG hold changed", "INFO hold ended", "DEBUG attempt",
		}
		if strings.Join(lines, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
		if strings.Contains(log.String(), "secret") || strings.Contains(log.String(), "token") {
			t.Errorf("the log holds what a URL hides:\n%s", &log)
		}
	})
}

// What slog gets is what zap gets.
func TestAsZap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.DebugLevel)
		var log bytes.Buffer
		logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		transport := &holdoff.Transport{Logger: zap.New(core), Observe: Observe(logger)}
		play(t, transport)

		var want []map[string]any
		for _, entry := range logged.All() {
			r := map[string]any{"level": entry.Level.CapitalString(), "msg": entry.Message}
			maps.Copy(r, entry.ContextMap())
			want = append(want, r)
		}
		text, err := json.Marshal(want) // so that numbers are of one type
		if err == nil {
			err = json.Unmarshal(text, &want)
		}
		if err != nil {
			t.Fatal(err)
		}
		got := records(t, log.Bytes())
		if len(got) != len(want) {
			t.Fatalf("got %d records, want %d", len(got), len(want))
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("record %d: got %v, want %v", i, got[i], want[i])
			}
		}
	})
}

// A store that comes and goes has no request, and no phase.
func TestStoreEvents(t *testing.T) {
	var log bytes.Buffer
	observe := Observe(slog.New(slog.NewJSONHandler(&log, nil)))
	observe(t.Context(), holdoff.Event{Kind: holdoff.StoreFailed, Key: "http://h", Err: errors.New("away")})
	observe(t.Context(), holdoff.Event{Kind: holdoff.StoreBack, Key: "http://h"})
	observe(t.Context(), holdoff.Event{Kind: holdoff.Attempted}) // below the handler's level
	want := []map[string]any{
		{"level": "WARN", "msg": "store failed", "key": "http://h", "error": "away"},
		{"level": "INFO", "msg": "store back", "key": "http://h"},
	}
	if got := records(t, log.Bytes()); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

type traceKey struct{}

// withTrace is a handler that takes a trace's id from the context.
type withTrace struct{ slog.Handler }

func (h withTrace) Handle(ctx context.Context, r slog.Record) error {
	if id, ok := ctx.Value(traceKey{}).(string); ok {
		r.AddAttrs(slog.String("trace", id))
	}
	return h.Handler.Handle(ctx, r)
}

func TestContextOfTheRequest(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(withTrace{slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})})
	transport := &holdoff.Transport{Base: &base{[]int{200}}, Observe: Observe(logger)}
	ctx := context.WithValue(t.Context(), traceKey{}, "abc")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://h/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := records(t, log.Bytes()); len(got) != 1 || got[0]["trace"] != "abc" {
		t.Errorf("got %v, want one record with trace abc", got)
	}
}

func TestNilIsTheDefault(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	observe := Observe(nil)
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
	observe(t.Context(), holdoff.Event{Kind: holdoff.HoldEnded, Key: "http://h"})
	if got := records(t, log.Bytes()); len(got) != 1 {
		t.Errorf("got %v, want one record", got)
	}
}
