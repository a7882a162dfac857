package holdoff

import (
	"context"
	"errors"
	"net/http"
)

// How a call ends.

var errRequestCanceled = errors.New("holdoff: request canceled (Request.Cancel)")

func awaitCancel(ctx context.Context, cancel context.CancelCauseFunc, request <-chan struct{}) {
	select {
	case <-request:
		cancel(errRequestCanceled)
	case <-ctx.Done():
	}
}

// ended reports whether the caller no longer wants the request.
func (c *call) ended() bool {
	if c.cancel != nil && requestEnded(c.req) {
		c.cancel(errRequestCanceled) // awaitCancel may not have had its turn yet
	}
	return c.ctx.Err() != nil
}

// interrupted is the error of a request whose context ended. Where it was neither
// sent nor waited, that is the context's cause itself, as net/http returns it:
// callers compare it with ==.
func (c *call) interrupted() error {
	if c.sends == 0 && c.waited == 0 {
		return context.Cause(c.ctx)
	}
	return &WaitError{Err: c.ctx.Err(), Cause: context.Cause(c.ctx), Attempts: c.sends, Status: c.status, Last: c.err}
}

// refuse ends the call with an error of our own: there is no result of an attempt
// to return.
func (c *call) refuse(err error) (*http.Response, error) {
	why := EndContext
	if held, ok := errors.AsType[*HeldError](err); ok {
		why = EndHeld
		c.park(why)
		c.observe(Event{Kind: GaveUp, Scope: held.Scope, Reason: string(why), Status: held.Status, Wait: held.RetryAfter(), Parked: c.parked})
	} else if c.waited > c.reportedWait {
		c.observe(Event{Kind: GaveUp, Reason: string(why), Status: c.status, Err: err})
	}
	c.end(why)
	return nil, err
}

// giveUp ends the call with an outcome that would have been retried.
func (c *call) giveUp(why Ending) (*http.Response, error) {
	c.park(why)
	c.observe(Event{Kind: GaveUp, Reason: string(why), Status: c.status, Err: c.err, Parked: c.parked})
	return c.answer(why)
}

// finalEnding distinguishes a success from an outcome that a retry would not improve.
func (c *call) finalEnding() Ending {
	if c.err == nil && c.status < 400 {
		return EndDone
	}
	return EndFinal
}

// answer ends the call with the outcome of the last attempt.
func (c *call) answer(why Ending) (*http.Response, error) {
	if c.err != nil && c.ended() {
		why = EndContext
	}
	c.end(why)
	return c.resp, c.err
}

// end releases what the call still holds, and fills the caller's Outcome.
func (c *call) end(why Ending) {
	c.over = true
	if c.pass.Limited() {
		c.reportResult(Verdict{}) // unused, or its result unknown
	}
	if c.pending != nil {
		c.pending.Close()
	}
	if c.body != nil {
		c.body.Finish(c.err)
	}
	if c.cancel != nil {
		c.cancel(nil)
	}
	if out := c.options.outcome; out != nil {
		*out = Outcome{
			Attempts: c.sends, Waited: c.waited, Ended: why, Status: c.status, Err: c.err,
			Parked: c.parked, ParkErr: c.parkErr,
		}
	}
}

// release cleans up where a hook or Base panicked.
func (c *call) release() {
	if c.over {
		return
	}
	if c.waiter != nil {
		c.key.Leave(c.waiter, false)
		c.pass = c.waiter.Pass
	}
	c.closeResponse()
	c.end("")
}
