package holdoff

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/go-holdoff/holdoff/internal/admission"
	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/replay"
	"github.com/go-holdoff/holdoff/internal/scope"
)

var errNothing = errors.New("holdoff: Base returned neither a response nor an error")

// call is one RoundTrip: the state that its steps share.
type call struct {
	t       *Transport
	req     *http.Request           // the caller's: never written to
	ctx     context.Context         // ends with the request's context or its Cancel channel
	cancel  context.CancelCauseFunc // of ctx; nil where that is the request's own
	options callOptions
	key     *admission.Key
	waiter  *admission.Waiter // while it waits for its scopes
	pass    admission.Pass    // while its result is unknown
	ledger  *admission.Ledger // on which draft draws; nil while no limit is known
	draft   *admission.Draft
	drawn   bool        // draft has drawn for the attempt that comes next
	at      scope.Scope // where the request stands; once it is of interest
	placed  bool        // at is known

	traced  bool          // attempts have a progress
	attempt int           // the number of the attempt that is made, or comes next
	body    *replay.Body  // what replays the caller's body, where that needs help
	pending io.ReadCloser // the next attempt's body, until Base has it: to be closed

	// The last attempt:

	sent      *http.Request  // what Base was given; nil before the first
	resp      *http.Response // nil where there was none, or it was discarded
	err       error
	status    int
	begun     time.Time     // when it was sent, where that was measured
	took      time.Duration // until the response headers; 0 where it wasn't measured
	decidedAt time.Time     // when its retry was considered
	explained bool          // a limit is why it was refused
	quota     hold.Quota    // what it said of a quota
	quotaOf   string        // the name of that limit; "" for none
	hasQuota  bool          // it said something

	sends        int           // how many attempts were made
	delay        time.Duration // of the last Backoff
	budgetExempt bool          // the retry was not charged to the budget
	waited       time.Duration // in all
	reportedWait time.Duration // how much of that watchers know of
	parked       string        // its id in the lot
	parkErr      error
	over         bool // RoundTrip has returned
}

func (c *call) start() {
	c.ctx = c.req.Context()
	if canceled := cancelChannel(c.req); canceled != nil {
		c.ctx, c.cancel = context.WithCancelCause(c.ctx)
		go awaitCancel(c.ctx, c.cancel, canceled)
	}
	once := c.options.noRetry || (c.t.maxAttempts() == 1 && c.t.Park == nil)
	c.traced = !once && !Idempotent(c.req)
	if !hasBody(c.req) {
		return
	}
	limit := replay.Limit
	if once || c.req.GetBody != nil || c.req.ContentLength > replay.Limit {
		limit = 0
	}
	c.carry(c.req.Body, limit)
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// carry makes rc the body of the next attempt.
func (c *call) carry(rc io.ReadCloser, limit int) {
	if c.body != nil {
		c.body.Finish(c.err)
	}
	c.body, c.pending = nil, rc
	if c.req.GetBody == nil || !replay.InMemory(rc) {
		c.body = replay.New(rc, limit)
		c.pending = c.body.Next()
	}
}

// enter waits until the key lets the attempt pass.
func (c *call) enter() error {
	if c.ended() {
		return c.interrupted()
	}
	c.key = c.t.key(c.req)
	if err := c.draw(); err != nil {
		return err
	}
	var open bool
	if c.pass, open = c.key.TryFastPath(); open {
		return nil
	}
	if c.pass, open = c.key.TryPass(c.point()); open {
		return nil
	}
	begun := time.Now()
	patience, deadline := c.patience(begun)
	c.waiter = &admission.Waiter{Point: c.point(), Latest: begun.Add(patience), Retry: c.attempt > 0}
	inLine, err := c.key.Enqueue(c.waiter)
	if inLine {
		c.giveBack() // others may use it meanwhile
		until, _ := c.key.HeldUntil(c.point())
		c.observe(Event{Kind: Waiting, Reason: string(EndHeld), Status: c.status, Wait: max(until.Sub(begun), 0)})
		err = c.key.Wait(c.ctx, c.waiter, deadline)
		c.waited += time.Since(begun)
	}
	c.pass, c.waiter = c.waiter.Pass, nil
	if r, ok := errors.AsType[*admission.Rejection](err); ok {
		c.giveBack()
		return c.held(r, deadline)
	}
	if c.ended() {
		c.giveBack()
		return c.interrupted()
	}
	c.drawAgain()
	if c.budgetExempt && !c.pass.Limited() {
		// It was exempt from the budget because it expected to wait for a permit, and did not.
		c.key.Budget.Take(c.t.retryBudget())
	}
	return nil
}

// point returns where the request stands, which is of interest only where its key is
// in trouble.
func (c *call) point() scope.Scope {
	if !c.placed {
		c.at, c.placed = c.t.point(c.req, c.options.scope), true
	}
	return c.at
}

// patience returns how long the request may still wait, and whether the
// deadline of its context is the bound.
func (c *call) patience(now time.Time) (d time.Duration, deadline bool) {
	d = c.t.maxWait() - c.waited
	if end, ok := c.ctx.Deadline(); ok && end.Sub(now) <= d {
		return end.Sub(now), true
	}
	return d, false
}

// send makes one attempt. It leaves a response or an error, never both.
func (c *call) send() {
	status, err := c.status, c.err
	c.sent = c.attemptRequest()
	c.pending = nil // Base closes it from here on
	c.sends++
	timed := c.timed()
	if timed {
		c.begun = time.Now()
	}
	if limit := c.t.PerAttemptTimeout; limit > 0 && c.sent.Header.Get("Upgrade") == "" {
		c.resp, c.err = sendWithin(limit, c.t.base, c.sent)
	} else {
		c.resp, c.err = c.t.base.RoundTrip(c.sent)
	}
	c.occupy()
	c.took = 0
	if timed {
		c.took = max(time.Since(c.begun), 1)
	}

	c.status = 0
	switch {
	case c.err != nil:
		c.closeResponse() // a Base that returns both breaks the contract
		if c.sends > 1 && c.ended() {
			// The previous attempt's result says more than the end of this one.
			c.status, c.err = status, err
			c.err = c.interrupted()
		}
	case c.resp == nil:
		c.err = errNothing
	default:
		c.status = c.resp.StatusCode
		if c.sent != c.req || c.t.PerAttemptTimeout > 0 {
			c.resp.Request = c.req
		}
	}
}

// timed reports whether the attempt's duration is of interest. Reading the clock
// twice is half of what a healthy request would cost, and one sample in eight
// tells the latency as well. Where answers carry numbers of a quota, it is read
// for them anyway.
func (c *call) timed() bool {
	return rand.Uint32()%8 == 0 || c.key.Latency() == 0 || c.key.Quota.Used() || c.t.watch.wants()
}

// attemptRequest returns the caller's request where that will do, and else a
// shallow copy: with a body of the attempt's own, its number and its progress.
func (c *call) attemptRequest() *http.Request {
	if c.attempt == 0 && c.body == nil && !c.traced {
		return c.req
	}
	ctx := c.req.Context()
	if c.attempt > 0 {
		ctx = withAttempt(ctx, c.attempt)
	}
	if c.traced {
		ctx = withProgress(ctx)
	}
	req := c.req.WithContext(ctx)
	if c.pending != nil {
		req.Body = c.pending
	}
	if c.body != nil && c.body.Remembers() {
		req.GetBody = c.body.GetBody // net/http resends over HTTP/2 what has one
	}
	return req
}

func (c *call) closeResponse() {
	if c.resp != nil && c.resp.Body != nil {
		c.resp.Body.Close()
	}
	c.resp = nil
}

// observe emits an event about the request. The time that it waited is
// reported once, with the event after the wait.
func (c *call) observe(e Event) {
	if !c.t.watch.wants() {
		return
	}
	if e.Kind != Waiting {
		e.Waited, c.reportedWait = c.waited-c.reportedWait, c.waited
	}
	e.Key, e.Method, e.Attempt = c.key.Text(), cmp.Or(c.req.Method, http.MethodGet), c.attempt
	c.t.watch.observe(c.req.Context(), e)
}
