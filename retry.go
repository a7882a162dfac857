package holdoff

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/jitter"
	"github.com/go-holdoff/holdoff/internal/replay"
)

// minSpread is the least room for jitter on top of a hint.
const minSpread = 100 * time.Millisecond

// plan decides whether there is another attempt. If not, it says why.
// If so, it prepares it and returns how long to wait.
func (c *call) plan(v Verdict) (wait time.Duration, against Ending) {
	switch {
	case c.options.noRetry:
		return 0, EndNoRetry
	case c.sends >= c.t.maxAttempts():
		return 0, EndAttempts
	case v.Hint > c.t.maxHold():
		return 0, EndWait
	}
	var until time.Time
	var held bool
	if !c.key.Open() {
		until, held = c.key.HeldUntil(c.point())
	}
	patience, _ := c.patience(c.decidedAt)
	switch {
	case held && !until.IsZero() && !until.Before(c.decidedAt.Add(v.Hint)):
		// The hold lasts as long, and the gate waits for its end.
	case v.Hint > 0:
		// Jitter only adds to a hint, and makes none miss the deadline.
		spread := min(max(v.Hint/2, minSpread), patience-v.Hint-1)
		wait = v.Hint + jitter.Uniform(spread)
	default:
		wait = max(c.t.backoff.Delay(Retry{
			Attempt: c.attempt, Previous: c.delay,
			Latency: c.key.Latency(), Refused: v.Lesson == Refused,
		}), 0)
		c.delay = wait
	}
	least := max(wait, until.Sub(c.decidedAt))
	if least >= patience && (least > 0 || held) {
		return 0, EndWait
	}
	if !c.prepare() {
		return 0, EndBody
	}
	c.budgetExempt = held
	if !c.budgetExempt && !c.key.Budget.Take(c.t.retryBudget()) {
		return 0, EndBudget
	}
	return wait, ""
}

// prepare makes the body of the next attempt ready before the response is
// discarded: without a body, the caller gets the response.
func (c *call) prepare() bool {
	switch {
	case !hasBody(c.req):
		return true
	case c.req.GetBody != nil:
		rc, err := c.req.GetBody()
		if err != nil || rc == nil {
			return false
		}
		c.carry(rc, 0)
		return true
	}
	c.pending = c.body.Next()
	return c.pending != nil
}

// sleep waits, from the time of the last response on. It ends at once with the
// request's context, at which enter looks next.
func (c *call) sleep(wait time.Duration, reason string) {
	c.attempt++
	begun := time.Now()
	left := c.decidedAt.Add(wait).Sub(begun)
	if wait <= 0 || left <= 0 {
		return
	}
	c.observe(Event{Kind: Waiting, Reason: reason, Status: c.status, Wait: left})
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
	c.waited += time.Since(begun)
}

// discard drains and closes a response that another attempt follows.
func (c *call) discard() {
	if c.resp != nil && c.resp.Body != nil {
		_, ownContext := c.resp.Body.(*cancelBody)
		replay.Drain(c.resp, ownContext)
	}
	c.resp = nil
}
