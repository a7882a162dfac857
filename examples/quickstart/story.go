package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
)

// story puts the Transport's events into words, and adds up what they come to.
type story struct {
	out   io.Writer
	start time.Time

	mu             sync.Mutex // guards what follows, and keeps lines whole
	sends, refused int
	served         int
	waited, most   time.Duration
	failure        error // the first
}

// tell is the Transport's Observe hook.
func (s *story) tell(ctx context.Context, e holdoff.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Kind == holdoff.Attempted {
		s.sends++
		if e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable {
			s.refused++
		}
	}
	fmt.Fprintf(s.out, "%6.2f s  %-21s  %s\n", time.Since(s.start).Seconds(), nameOf(ctx), words(e))
}

func words(e holdoff.Event) string {
	switch e.Kind {
	case holdoff.Attempted:
		if e.Err != nil {
			return fmt.Sprintf("attempt %d: no response (%s: %v)", e.Attempt, e.Reason, innermost(e.Err))
		}
		return fmt.Sprintf("attempt %d: %s", e.Attempt, status(e.Status))
	case holdoff.Waiting:
		if e.Reason != "held" {
			return fmt.Sprintf("  waits %v before attempt %d: %s", round(e.Wait), e.Attempt, e.Reason)
		}
		if e.Wait == 0 {
			return fmt.Sprintf("  waits with attempt %d: the host is recovering", e.Attempt)
		}
		return fmt.Sprintf("  waits with attempt %d: the host is held for %v more", e.Attempt, round(e.Wait))
	case holdoff.GaveUp:
		return "  gives up: " + because(holdoff.Ending(e.Reason))
	case holdoff.HoldStarted:
		return fmt.Sprintf("HOLD STARTED by %s: no request is sent for %v", status(e.Status), round(e.Hold))
	case holdoff.HoldEnded:
		return "HOLD ENDED: the host is well"
	}
	switch e.Phase {
	case holdoff.Held:
		return fmt.Sprintf("HOLD EXTENDED by %s: no request is sent for %v", status(e.Status), round(e.Hold))
	case holdoff.Probing:
		return "hold ran out: one request probes"
	}
	return "probe is good: the others follow, a few at a time (ramp)"
}

func because(why holdoff.Ending) string {
	switch why {
	case holdoff.EndAttempts:
		return "it has been sent as often as it may be"
	case holdoff.EndBudget:
		return "too many retries for too few successes (budget)"
	case holdoff.EndWait:
		return "the wait would be longer than it has time for"
	case holdoff.EndHeld:
		return "the host is held for longer than it has time for"
	case holdoff.EndContext:
		return "its caller has left, or its time is up"
	}
	return string(why)
}

// innermost is what went wrong, without the layers that it came up through.
func innermost(err error) error {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err
}

func status(code int) string {
	if code == 0 {
		return "no response"
	}
	return fmt.Sprintf("%d %s", code, http.StatusText(code))
}

func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Millisecond)
}

// add takes in how one request went.
func (s *story) add(outcome holdoff.Outcome, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waited += outcome.Waited
	s.most = max(s.most, outcome.Waited)
	if err == nil {
		s.served++
	} else if s.failure == nil {
		s.failure = err
	}
}

// summary returns how many requests were served.
func (s *story) summary(requests int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "\nRequests: %d. Sends: %d, of which refused (429 or 503): %d. It took %v.\n",
		requests, s.sends, s.refused, round(time.Since(s.start)))
	fmt.Fprintf(s.out, "Requests waited %v in all, and none of them more than %v.\n", round(s.waited), round(s.most))
	if s.served == requests {
		fmt.Fprintln(s.out, "All callers were served.")
		return s.served
	}
	fmt.Fprintf(s.out, "Served: %d of %d.\n", s.served, requests)
	if s.failure != nil {
		fmt.Fprintf(s.out, "The first that was not: %v\n", s.failure)
	}
	return s.served
}
