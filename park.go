package holdoff

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/go-holdoff/holdoff/internal/redact"
)

// A Lot is a dead-letter store: it keeps requests that failed for good, so that they
// can be sent later. Package retryapi has lots, and a handler that replays requests.
type Lot interface {
	// Park keeps p, and returns the id by which it can be found. The context's
	// deadline bounds how long that may take: the caller of the request waits
	// for it.
	Park(ctx context.Context, p Parked) (id string, err error)
}

// Parked is a request that failed for good.
type Parked struct {
	// Request is a copy of the caller's. Its Body is nil; where it had one,
	// GetBody makes it.
	Request *http.Request
	// Key is the key of the request.
	Key string
	// Attempts is how many were made.
	Attempts int
	// Ended is why there was no further one, and Status and Err are what the
	// last one got.
	Ended  Ending
	Status int
	Err    error
}

// parkTimeout bounds how long a request that was given up waits to be parked.
const parkTimeout = time.Second

var errNotReplayable = errors.New("holdoff: not parked: the body can't be sent again")

// park keeps the request in the Transport's lot, if it has one and the request
// is one that might be sent again.
func (c *call) park(why Ending) {
	switch why {
	case EndAttempts, EndBudget, EndWait, EndHeld:
	default:
		return
	}
	if c.t.Park == nil || c.options.noRetry {
		return
	}
	req := c.whole()
	if req == nil {
		c.parkErr = errNotReplayable
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.req.Context()), parkTimeout)
	defer cancel()
	c.parked, c.parkErr = c.t.Park.Park(ctx, Parked{
		Request: req, Key: c.key.Text(), Attempts: c.sends, Ended: why, Status: c.status, Err: redact.Error(c.err),
	})
}

// whole returns a copy of the caller's request with all of its body, or nil
// if it can't be read again.
func (c *call) whole() *http.Request {
	req := c.req.Clone(context.Background())
	req.Body = nil
	switch {
	case !hasBody(c.req):
		req.GetBody = nil
	case req.GetBody != nil:
	case c.body == nil:
		return nil
	default:
		all, ok := c.body.All()
		if !ok {
			return nil
		}
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(all)), nil }
	}
	return req
}
