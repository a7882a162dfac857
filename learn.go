package holdoff

import (
	"net/http"
	"time"

	"github.com/go-holdoff/holdoff/internal/admission"
	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/ratelimitheader"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// What a call makes of the result of an attempt: a verdict, a quota, and what the key learns.

// learn classifies the outcome, and records it at the gate.
func (c *call) learn() Verdict {
	v := c.verdict()
	if v.Lesson == Good {
		c.key.Budget.Earn()
		c.key.Tolerance.Earn()
		if c.took > 0 && c.attempt == 0 {
			c.key.Sample(c.took)
		}
	}
	if v.Retry {
		c.decidedAt = time.Now()
	}
	c.explain(&v)
	c.readQuota()
	if c.t.watch.wants() {
		// Before the gate learns of it: watchers see the cause, then the hold.
		c.observe(Event{Kind: Attempted, Status: c.status, Err: c.err, Reason: v.Reason, Duration: c.took})
	}
	c.reportResult(v)
	return v
}

// readQuota takes in what the response says of a quota. Where it was never seen
// to say anything, one look in eight will do.
func (c *call) readQuota() {
	c.hasQuota = false
	if c.resp == nil || (c.took == 0 && !c.pass.Limited()) {
		return
	}
	now, took := time.Now(), time.Duration(0)
	if c.took > 0 {
		took = now.Sub(c.begun) // to the moment: it orders requests after answers
	}
	sender := func() uint64 { return scope.Sender(c.req) }
	c.quota, c.quotaOf, c.hasQuota = c.key.Quota.Read(c.resp.Header, sender, took, now, c.t.maxHold())
}

func (c *call) verdict() Verdict {
	switch {
	case c.err == nil && c.resp.StatusCode == http.StatusSwitchingProtocols:
		return Verdict{Lesson: Good, Reason: "ok"}
	case c.err != nil && c.ended():
		return Verdict{Reason: string(EndContext)}
	case c.err != nil && c.body != nil && c.body.Failed(c.err):
		return Verdict{Reason: "request body"}
	}
	v := c.t.judge(c.sent, c.resp, c.err)
	v.Hint = max(v.Hint, 0)
	if v.Lesson == Nothing && v.Hint == 0 && !v.Retry && c.err == nil && c.status < 400 {
		v.Lesson = Good
	}
	return v
}

// reportResult records the attempt's result at the gate. A success on a healthy key
// needs no record.
func (c *call) reportResult(v Verdict) {
	p := c.pass
	c.pass = admission.Pass{}
	if p.Limited() && v.Lesson == Nothing && v.Hint == 0 && c.resp != nil && c.status < 500 && !refusedAtDoor(c.status) {
		v.Lesson = Good // whatever the status, the probe got an answer from the host
	}
	if c.key.Open() && !p.Limited() && (v.Lesson == Good || v.Lesson == Nothing) && !(c.hasQuota && (c.quota.NearExhaustion || c.quota.Inconsistent)) {
		if c.resp != nil && c.key.Quota.Used() && c.key.MayLearn() {
			c.key.Learn(c.outcome(v))
		}
		return
	}
	o := c.outcome(v)
	for !c.key.Record(&p, o) {
		c.key = c.t.key(c.req)
	}
}

// outcome returns what the attempt says about the key.
func (c *call) outcome(v Verdict) admission.Outcome {
	o := admission.Outcome{At: c.point(), Result: hold.Result{
		Permit: hold.Permit{Retry: c.attempt > 0}, Lesson: v.Lesson, Hint: min(v.Hint, c.t.maxHold()), Status: c.status,
		Quota: c.quota, HasQuota: c.hasQuota,
	}}
	if c.resp != nil {
		o.Limit, o.Reach = ratelimitheader.Limit(c.resp.Header)
	}
	if c.t.Route != nil || c.options.scope != "" {
		// The caller says what draws on one limit. A name of the server's may stand for
		// many: Discord's buckets have one per kind of route, for all channels.
		o.Limit = ""
	}
	if c.hasQuota {
		o.QuotaOf = c.quotaOf
	}
	return o
}

// refusedAtDoor reports whether a status can be about one credential only (no credit left,
// a quota per day): a probe that meets it proves nothing about the others.
func refusedAtDoor(status int) bool {
	return status == http.StatusForbidden || status == http.StatusTooManyRequests
}
