package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/go-holdoff/holdoff"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type lotFunc func(context.Context, holdoff.Parked) (string, error)

func (f lotFunc) Park(ctx context.Context, p holdoff.Parked) (string, error) { return f(ctx, p) }

type delayFunc func(holdoff.Retry) time.Duration

func (f delayFunc) Delay(r holdoff.Retry) time.Duration { return f(r) }

type lot struct{}

func (*lot) Park(context.Context, holdoff.Parked) (string, error) { return "", errors.New("full") }

// A field whose value has no method that can be called is named in the error of the
// first request, and nothing panics.
func TestTransport_EmptyFieldIsNamedInTheError(t *testing.T) {
	for _, test := range []struct {
		field string
		tr    *holdoff.Transport
	}{
		{"Store", &holdoff.Transport{Store: (*holdoff.RedisStore)(nil)}},
		{"Store", &holdoff.Transport{Store: (*holdoff.MemoryStore)(nil)}},
		{"Store", &holdoff.Transport{Store: &holdoff.RedisStore{}}},
		{"Base", &holdoff.Transport{Base: (*http.Transport)(nil)}},
		{"Base", &holdoff.Transport{Base: (*holdoff.Transport)(nil)}},
		{"Base", &holdoff.Transport{Base: roundTrip(nil)}},
		{"Park", &holdoff.Transport{Park: (*lot)(nil)}},
		{"Park", &holdoff.Transport{Park: lotFunc(nil)}},
		{"Backoff", &holdoff.Transport{Backoff: (*holdoff.Exponential)(nil)}},
		{"Backoff", &holdoff.Transport{Backoff: delayFunc(nil)}},
		{"Logger", &holdoff.Transport{Logger: &zap.Logger{}}},
	} {
		body := &closing{Reader: strings.NewReader("body")}
		req, _ := http.NewRequest("PUT", "http://h.example/", nil)
		req.Body = body
		resp, err := test.tr.RoundTrip(req)
		if resp != nil || err == nil || !strings.Contains(err.Error(), "Transport."+test.field+" is ") {
			t.Errorf("an empty %s: got %v, %v; want an error that names the field", test.field, resp, err)
		}
		if body.closes != 1 {
			t.Errorf("an empty %s: the body was closed %d times, want once", test.field, body.closes)
		}
		for key := range test.tr.Keys() {
			t.Errorf("an empty %s: got key %v, want none", test.field, key)
		}
		test.tr.CloseIdleConnections()
		test.tr.WrappedRoundTripper()
	}
}

type closing struct {
	*strings.Reader
	closes int
}

func (c *closing) Close() error { c.closes++; return nil }

// A pointer to an Exponential is held to the same bounds as an Exponential.
func TestTransport_PointerToExponentialIsValidated(t *testing.T) {
	tr := &holdoff.Transport{Backoff: &holdoff.Exponential{Base: -1}}
	req, _ := http.NewRequest("GET", "http://h.example/", nil)
	if _, err := tr.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "Exponential.Base") {
		t.Errorf("got %v, want an error that names Exponential.Base", err)
	}
}

// A nil Logger is none, and is no error.
func TestTransport_NilLoggerIsNone(t *testing.T) {
	var none *zap.Logger
	tr := &holdoff.Transport{Logger: none, Base: roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 204, Body: http.NoBody}, nil
	})}
	req, _ := http.NewRequest("GET", "http://h.example/", nil)
	if resp, err := tr.RoundTrip(req); err != nil || resp.StatusCode != 204 {
		t.Errorf("got %v, %v; want 204", resp, err)
	}
}

func TestString_ValueOutOfRangeIsSaid(t *testing.T) {
	for _, test := range []struct {
		value fmt.Stringer
		want  string
	}{
		{holdoff.Phase(9), "phase(9)"}, {holdoff.Phase(-1), "phase(-1)"}, {holdoff.Rationed, "rationed"}, {holdoff.Rationed + 1, "phase(7)"},
		{holdoff.Lesson(9), "lesson(9)"}, {holdoff.Lesson(-1), "lesson(-1)"}, {holdoff.Unreachable, "unreachable"},
		{holdoff.EventKind(99), "event(99)"}, {holdoff.EventKind(-1), "event(-1)"}, {holdoff.StoreBack, "store back"},
		{holdoff.KeyState{Key: "http://h", State: holdoff.State{Phase: 9, Rate: 1}}, "http://h is in phase(9)"},
	} {
		if got := test.value.String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// No value of an enumeration panics, and each has a word that no other has.
func FuzzString(f *testing.F) {
	f.Add(0, 1)
	f.Add(6, 7)
	f.Add(-1, 9)
	f.Fuzz(func(t *testing.T, a, b int) {
		for _, pair := range [][2]string{
			{holdoff.Phase(a).String(), holdoff.Phase(b).String()},
			{holdoff.Lesson(a).String(), holdoff.Lesson(b).String()},
			{holdoff.EventKind(a).String(), holdoff.EventKind(b).String()},
		} {
			if pair[0] == "" || (pair[0] == pair[1]) != (a == b) {
				t.Errorf("%d is %q, and %d is %q", a, pair[0], b, pair[1])
			}
		}
	})
}
