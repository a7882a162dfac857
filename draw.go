package holdoff

import (
	"cmp"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff/internal/admission"
	"github.com/go-holdoff/holdoff/internal/limit"
	"github.com/go-holdoff/holdoff/internal/ratelimitheader"
)

// How a request draws on limits that have a unit.

// draw waits until each limit of the request has what it costs, and takes it.
func (c *call) draw() error {
	ledger := c.key.Ledger()
	if ledger == nil {
		return nil
	}
	c.ledger, c.draft = ledger, c.draft.Next(c.options.cost, c.options.priority)
	begun := time.Now()
	patience, deadline := c.patience(begun)
	c.draft.Latest = begun.Add(patience)
	inLine, err := ledger.Enqueue(c.draft, c.point())
	if inLine {
		c.observe(Event{Kind: Waiting, Reason: string(EndHeld), Status: c.status})
		err = ledger.Wait(c.ctx, c.draft, deadline)
		c.waited += time.Since(begun)
	}
	if err != nil {
		return c.held(err, deadline)
	}
	c.drawn = true
	c.options.meter.set(ledger, c.draft)
	return nil
}

// giveBack returns what an attempt drew that is not made now.
func (c *call) giveBack() {
	if c.drawn {
		c.drawn = false
		c.ledger.Return(c.draft)
	}
}

// drawAgain takes what was given back for the time of a wait.
func (c *call) drawAgain() {
	if c.draft != nil && !c.drawn {
		c.drawn = true
		c.ledger.Again(c.draft)
	}
}

// occupy sees to it that what the attempt draws of requests in flight is free again when its
// response ends.
func (c *call) occupy() {
	if !c.drawn || !c.ledger.Concurrent() {
		return
	}
	ledger, draft := c.ledger, c.draft
	done := sync.OnceFunc(func() { ledger.Done(draft) })
	if c.resp == nil || c.resp.Body == nil || c.resp.StatusCode == http.StatusSwitchingProtocols {
		done()
		return
	}
	c.resp.Body = &countedBody{c.resp.Body, done}
}

// countedBody says when a response has ended.
type countedBody struct {
	io.ReadCloser
	done func()
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.done()
	}
	return n, err
}

func (b *countedBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

// mostLimits bounds the limits that are read of one answer.
const mostLimits = 16

// readLimits takes in what the response says of limits, and reports whether one of them
// is why it refused the request. Where no answer has said anything, a look now and then
// will do, and one at each refusal.
func (c *call) readLimits(v Verdict) (explained bool) {
	refused := v.Lesson == Refused && c.status == http.StatusTooManyRequests
	if !c.drawn && (c.resp == nil || !refused && c.key.Ledger() == nil && (c.took == 0 || rand.Uint32()%8 != 0)) {
		return false
	}
	return c.takeLimits(v, refused)
}

func (c *call) takeLimits(v Verdict, refused bool) (explained bool) {
	ledger := c.key.Ledger()
	var room [mostLimits]limit.Limit
	said := room[:0]
	if c.resp != nil {
		ratelimitheader.Limits(c.resp.Header, time.Now(), func(l limit.Limit) {
			if len(said) < mostLimits {
				said = append(said, l)
			}
		})
	}
	if len(said) == 0 && !c.drawn {
		return false
	}
	if ledger == nil {
		ledger = c.key.OpenLedger()
	}
	draft := c.draft
	if !c.drawn || c.ledger != ledger {
		draft = nil
	}
	c.drawn = false
	return ledger.Learn(draft, c.point(), admission.Answer{
		Limits: said, Served: v.Lesson == Good, Refused: refused, Unsent: v.Lesson == Unreachable,
	})
}

// explain makes of a refusal that a limit explains what it means: the request waits for
// the limit, and, if the server asked for it in so many words, for that time; and nothing
// else is held.
func (c *call) explain(v *Verdict) {
	c.explained = c.readLimits(*v)
	if c.explained {
		v.Lesson, v.Hint = Nothing, ratelimitheader.Asked(c.resp, time.Now())
	}
}

// held makes the error of a request that is not sent.
func (c *call) held(err error, deadline bool) error {
	if r, ok := err.(*admission.Rejection); ok {
		return &HeldError{
			Key: r.Key, Scope: r.Scope, Until: r.Until, Attempts: r.Attempts, Status: r.Status, Limit: r.Limit,
			method: cmp.Or(c.req.Method, http.MethodGet), restOpen: r.RestOpen, deadline: deadline,
		}
	}
	if c.ended() {
		return c.interrupted()
	}
	return err
}
