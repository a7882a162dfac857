package measure

import (
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"time"
)

func TestCalls(t *testing.T) {
	var calls atomic.Int64
	s, err := Calls(5*time.Millisecond, func() ([]func() error, error) {
		call := func() error {
			calls.Add(1)
			time.Sleep(time.Millisecond)
			return nil
		}
		return []func() error{call, call}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.NS < 5e5 || calls.Load() < 2 {
		t.Errorf("got %v ns after %d calls, want half of each call's millisecond or more", s.NS, calls.Load())
	}
}

func TestCallsEndsWithAnError(t *testing.T) {
	want := errors.New("no")
	failing := func() ([]func() error, error) { return []func() error{func() error { return want }}, nil }
	if _, err := Calls(time.Millisecond, failing); err != want {
		t.Errorf("a call: got %v, want %v", err, want)
	}
	if _, err := Calls(time.Millisecond, func() ([]func() error, error) { return nil, want }); err != want {
		t.Errorf("the preparation: got %v, want %v", err, want)
	}
}

func TestSummarise(t *testing.T) {
	s := Summarise([]Sample{{NS: 40, Bytes: 1}, {NS: 10, Bytes: 2}, {NS: 20, Bytes: 3}, {NS: 30, Bytes: 4}, {NS: 50, Bytes: 5}})
	if s.NS != 30 || s.Bytes != 3 || math.Abs(s.Spread-10.0/30) > 1e-9 {
		t.Errorf("got %+v, want medians 30 and 3, and a spread of a third", s)
	}
	if one := Summarise([]Sample{{NS: 7}}); one.NS != 7 || one.Spread != 0 {
		t.Errorf("got %+v of a single sample", one)
	}
	if m := Median([]float64{1, 2, 4, 3}); m != 2.5 {
		t.Errorf("got %v, want 2.5", m)
	}
}
