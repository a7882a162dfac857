package holdoff

import (
	"context"
	"net/http"
	"time"

	"github.com/go-holdoff/holdoff/internal/scope"
)

// An Outcome is the result of one request, for its caller: see [WithOutcome].
type Outcome struct {
	// Attempts is how many times the request was sent.
	Attempts int
	// Waited is how long it waited: for holds, hints and backoff.
	Waited time.Duration
	// Ended says why there was no further attempt.
	Ended Ending
	// Status and Err are what the last attempt got: a status code, or an error.
	Status int
	Err    error
	// Parked is the id under which Transport.Park keeps the request; "" if it was not
	// parked. ParkErr says why parking failed.
	Parked  string
	ParkErr error
}

// An Ending says why there was no further attempt.
type Ending string

const (
	EndDone     Ending = "done"          // with a response below 400
	EndFinal    Ending = "not retryable" // the last response or error is not one to retry
	EndAttempts Ending = "attempts"      // MaxAttempts were made
	EndBudget   Ending = "budget"        // the key's retry budget is spent
	EndWait     Ending = "wait too long" // the next wait would pass MaxWait, MaxHold or the context's deadline
	EndBody     Ending = "body"          // the request's body can't be sent again
	EndNoRetry  Ending = "no retry"      // the context forbids retries: WithoutRetry
	EndHeld     Ending = "held"          // it was held, and not sent: *HeldError
	EndContext  Ending = "context"       // the request's context ended: *WaitError, Base's error or the context's cause
)

// callOptions are the options in a request's context. There is one value per
// context, so that a healthy request needs one lookup.
type callOptions struct {
	outcome    *Outcome
	idempotent bool
	noRetry    bool
	scope      string
}

type (
	optionsKey struct{}
	attemptKey struct{}
)

func optionsOf(ctx context.Context) callOptions {
	if o, ok := ctx.Value(optionsKey{}).(*callOptions); ok {
		return *o
	}
	return callOptions{}
}

func withOptions(ctx context.Context, change func(*callOptions)) context.Context {
	o := optionsOf(ctx)
	change(&o)
	return context.WithValue(ctx, optionsKey{}, &o)
}

// WithOutcome returns a context through which the caller of one request learns
// the result: out is filled when [Transport.RoundTrip] returns. If
// http.Client follows redirects, out is about the last hop.
func WithOutcome(ctx context.Context, out *Outcome) context.Context {
	return withOptions(ctx, func(o *callOptions) { o.outcome = out })
}

// WithIdempotent marks requests of this context as safe to send more than
// once, whatever their method is. The header Idempotency-Key does the same,
// and the server sees it as well.
func WithIdempotent(ctx context.Context) context.Context {
	return withOptions(ctx, func(o *callOptions) { o.idempotent = true })
}

// WithoutRetry makes requests of this context wait for holds, and report what
// they meet, but never be sent twice. Use it where another layer retries:
// three attempts above three attempts make nine.
func WithoutRetry(ctx context.Context) context.Context {
	return withOptions(ctx, func(o *callOptions) { o.noRetry = true })
}

// WithScope names the limit that requests of this context draw on, in the place of
// their route: the model of an LLM API, say, which is in the body. Requests with one
// name have one limit, whatever their paths are. The name is of the caller's choice;
// it appears in logs, and must hold no secret. "" is none. See [Transport.Route].
func WithScope(ctx context.Context, name string) context.Context {
	return withOptions(ctx, func(o *callOptions) { o.scope = scope.Clean(name) })
}

// setOutcome fills the caller's Outcome for a request that was not ours to judge.
func (o callOptions) setOutcome(attempts int, resp *http.Response, err error) {
	if o.outcome == nil {
		return
	}
	*o.outcome = Outcome{Attempts: attempts, Ended: EndDone, Err: err}
	if resp != nil {
		o.outcome.Status = resp.StatusCode
	}
}

// Attempt returns the number of the attempt that is being made with ctx, which
// a Base below the [Transport] finds in its request: 0 on the first send, 1 on
// the first retry. Where one Transport is the Base of another, the first send
// of the inner one has the number of the outer one's attempt.
func Attempt(ctx context.Context) int {
	n, _ := ctx.Value(attemptKey{}).(int)
	return n
}

func withAttempt(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, attemptKey{}, n)
}
