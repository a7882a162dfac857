package holdoff

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A HeldError is returned for a request that was not sent because its key, or the
// part of it that the request is about, is held for longer than the request may wait.
type HeldError struct {
	Key      string    // what is held: see Transport.Key
	Scope    Scope     // the part of the key that is held; zero for all of it
	Until    time.Time // when the hold ends, by this process's clock
	Attempts int       // how many attempts have failed since the key was last healthy
	Status   int       // the last of their status codes; 0 if there was none

	method   string
	restOpen bool // other requests of the key are sent
	deadline bool
}

// Error says what is held, for how long, and why.
func (e *HeldError) Error() string {
	why := "no response"
	if e.Status != 0 {
		why = statusWords(e.Status)
	}
	what, rest := e.subject()
	return fmt.Sprintf("holdoff: %s is held for %v more (%s, %d failed)%s",
		what, e.RetryAfter().Round(time.Millisecond), why, e.Attempts, rest)
}

// statusWords is a status code with its text, where it has one.
func statusWords(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// subject says in words what is held, and what is not.
func (e *HeldError) subject() (what, rest string) {
	if e.Scope == (Scope{}) {
		return e.Key, ""
	}
	what = e.Scope.Words()
	if e.method != "" && strings.HasPrefix(what, "/") {
		what = e.method + " " + what
	}
	if e.restOpen {
		return what, "; the rest of " + e.Key + " is not held"
	}
	return what + " of " + e.Key, ""
}

// RetryAfter returns the time until the hold ends; 0 when it is over.
func (e *HeldError) RetryAfter() time.Duration { return max(time.Until(e.Until), 0) }

// Timeout reports whether it was the deadline of the request's context that
// left no room for the wait; otherwise it was MaxWait.
func (e *HeldError) Timeout() bool { return e.deadline }

// Temporary is true: the same request may be sent once the hold is over.
func (e *HeldError) Temporary() bool { return true }

// A WaitError is returned for a request whose context ended while the request
// was waiting, or in the middle of a retry. A request that was neither sent nor
// waited gets the context's cause itself, as net/http returns it. errors.Is finds the context's error,
// its cause and the error of the last whole attempt in it.
type WaitError struct {
	Err      error // the context's error: context.Canceled or context.DeadlineExceeded
	Cause    error // context.Cause: Err, or what was given to the CancelCauseFunc
	Attempts int   // how many attempts had been made
	Status   int   // the status code of the last whole one; 0 where there was none
	Last     error // the error of the last whole one; nil where there was none
}

// Error says what the request was doing when its context ended.
func (e *WaitError) Error() string {
	switch {
	case e.Attempts == 0:
		return fmt.Sprintf("holdoff: the context ended before the first attempt: %v", e.Cause)
	case e.Last != nil:
		return fmt.Sprintf("holdoff: the context ended after %d attempts (%v): %v", e.Attempts, e.Last, e.Cause)
	}
	return fmt.Sprintf("holdoff: the context ended after %d attempts (status %d): %v", e.Attempts, e.Status, e.Cause)
}

// Unwrap returns Err, Cause and Last, as far as they differ and are there.
func (e *WaitError) Unwrap() []error {
	errs := []error{e.Err}
	for _, err := range []error{e.Cause, e.Last} {
		if err != nil && err != e.Err {
			errs = append(errs, err)
		}
	}
	return errs
}

// Timeout reports whether the context's deadline passed.
func (e *WaitError) Timeout() bool { return isTimeout(e.Err) }

// Temporary is what Timeout is, as it is for context.DeadlineExceeded.
func (e *WaitError) Temporary() bool { return e.Timeout() }
