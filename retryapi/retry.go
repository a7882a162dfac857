package retryapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/go-holdoff/holdoff"
)

// RetryRequest is the body of POST /retry.
type RetryRequest struct {
	// ID is that of a parked request.
	ID string `json:"id"`
	// AttemptNumber is the number of the attempt to make, from 0. Of two calls
	// with one number, one sends.
	AttemptNumber int `json:"attemptNumber"`
	// SleepDuration is how long to wait before, in milliseconds.
	SleepDuration int64 `json:"sleepDuration"`
	// Jitter is up to how much is added to that, at random, in milliseconds.
	Jitter int64 `json:"jitter"`
}

// RetryResponse is the answer to POST /retry.
type RetryResponse struct {
	ID            string `json:"id"`
	AttemptNumber int    `json:"attemptNumber"`
	// Result is "success" where the replay got a 2xx that the Transport's Classify
	// does not retry; the request is no longer parked then. Otherwise it is
	// "failure", also for a redirect, which is not followed.
	Result string `json:"result"`
	// Status is what the replay got; it is left out where it got no response.
	Status int `json:"status,omitempty"`
	// Slept is how long the call waited before the replay, in milliseconds.
	Slept int64 `json:"slept"`
	// Error says why the result is a failure.
	Error string `json:"error,omitempty"`
	// NextAttemptNumber is the number of the next attempt, after a failure. It
	// is AttemptNumber where nothing was sent.
	NextAttemptNumber *int `json:"nextAttemptNumber,omitempty"`
	// RetryAfter is how long the host is held, in milliseconds, where that is
	// why nothing was sent.
	RetryAfter int64 `json:"retryAfter,omitempty"`
}

// serveRetry answers POST /retry.
func (h *Handler) serveRetry(w http.ResponseWriter, r *http.Request) {
	// A slow client is bounded where it writes and where it reads, and a server's
	// own WriteTimeout must not end a call that sleeps.
	client := http.NewResponseController(w)
	client.SetReadDeadline(time.Now().Add(slowClient))
	call, wrong := decode(r, h.maxSleep())
	client.SetReadDeadline(time.Time{})
	client.SetWriteDeadline(time.Time{})
	defer client.SetWriteDeadline(time.Time{})
	if wrong != nil {
		wrong.write(w)
		return
	}
	begun := time.Now()
	answer, err := h.replay(r.Context(), call)
	h.log().Debug("retry", zap.String("id", call.ID), zap.Int("attempt", call.AttemptNumber),
		zap.String("result", answer.Result), zap.Int("status", answer.Status),
		zap.Int64("slept_ms", answer.Slept), zap.Duration("duration", time.Since(begun)),
		zap.String("error", answer.Error), zap.NamedError("refused", err))
	client.SetWriteDeadline(time.Now().Add(slowClient))
	if err != nil {
		problemOf(err).write(w)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", answer)
}

// replay makes one attempt of a parked request.
func (h *Handler) replay(ctx context.Context, call RetryRequest) (RetryResponse, error) {
	answer := RetryResponse{ID: call.ID, AttemptNumber: call.AttemptNumber, Result: "failure"}
	sleep := time.Duration(call.SleepDuration) * time.Millisecond
	if call.Jitter > 0 {
		sleep += rand.N(time.Duration(call.Jitter)*time.Millisecond + 1)
	}
	// Not with ctx: if the call were cut off, it would be unknown whether it has
	// claimed the attempt.
	claim, err := h.Lot.Claim(context.WithoutCancel(ctx), call.ID, call.AttemptNumber, sleep+h.prepareTimeout()+claimSlack)
	if err != nil {
		return answer, err
	}
	var result Result
	defer func() {
		if err := h.settle(ctx, claim, result); err != nil {
			h.log().Warn("the result of a replay could not be stored: the request stays parked", zap.String("id", call.ID),
				zap.Int("attempt", call.AttemptNumber), zap.Bool("good", result.Good), zap.Error(err))
		}
	}()
	answer.NextAttemptNumber = &call.AttemptNumber

	begun := time.Now()
	select {
	case <-time.After(sleep):
	case <-ctx.Done():
	}
	if ctx.Err() != nil { // also where there was nothing to sleep
		answer.Error = callerGone
		return answer, nil
	}
	answer.Slept = time.Since(begun).Milliseconds()

	if wrong := h.prepare(ctx, claim); wrong != "" {
		answer.Error = wrong
		return answer, nil
	}
	// Taken before Begin, so that the send ends before the lease does. A process
	// that stands still meanwhile sends nothing once it goes on: it is too late.
	until := time.Now().Add(replayTimeout)
	if err := h.Lot.Begin(ctx, claim, replayTimeout+claimSlack); err != nil {
		return answer, err
	}
	result = Result{Sent: true, Err: "the attempt broke off"} // where something panics in it
	result = h.send(ctx, until, claim.Request, &answer)
	if result.Good {
		answer.Result, answer.NextAttemptNumber = "success", nil
	} else if result.Sent {
		next := call.AttemptNumber + 1
		answer.NextAttemptNumber = &next
	}
	return answer, nil
}

// settle notes a result, also for a caller who is gone. It tries more than once:
// a success that is not noted could be repeated.
func (h *Handler) settle(ctx context.Context, claim *Claim, result Result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	for {
		err := h.Lot.Settle(ctx, claim, result)
		conflict, _ := errors.AsType[*ConflictError](err)
		if err == nil || conflict != nil || errors.Is(err, ErrUnknown) {
			// No other caller settles this claim: an earlier try has arrived.
			return nil
		}
		select {
		case <-time.After(settleAgain):
		case <-ctx.Done():
			return err
		}
	}
}

const (
	// replayTimeout bounds one replay, with its wait for a hold.
	replayTimeout = 2 * time.Minute
	// claimSlack is for what else a call does while it has a claim.
	claimSlack    = 10 * time.Second
	settleTimeout = 3 * time.Second
	settleAgain   = 200 * time.Millisecond
)

const callerGone = "the caller is gone: nothing was sent"

// prepare puts credentials back. It returns what stands against a replay.
func (h *Handler) prepare(ctx context.Context, c *Claim) string {
	if h.Prepare == nil {
		if len(c.Withheld) > 0 {
			return fmt.Sprintf("nothing was sent: %v was not kept with the request, and Handler.Prepare is not set", c.Withheld)
		}
		return ""
	}
	bounded, cancel := context.WithTimeout(ctx, h.prepareTimeout())
	defer cancel()
	c.Request = c.Request.WithContext(bounded)
	err := h.Prepare(c.Request)
	if ctx.Err() != nil {
		return callerGone
	}
	if err = cmp.Or(bounded.Err(), err); err != nil {
		h.log().Warn("Prepare failed", zap.String("id", c.ID), zap.Error(err))
		if bounded.Err() != nil {
			return fmt.Sprintf("nothing was sent: Prepare took longer than %v", h.prepareTimeout())
		}
		return "nothing was sent: the request could not be prepared"
	}
	if names := missing(c.Request, c.Withheld); len(names) > 0 {
		return fmt.Sprintf("nothing was sent: %v was not kept with the request, and Prepare did not put it back", names)
	}
	return ""
}

// send sends a parked request once, through the Transport's hold, and no later
// than until. The end of ctx cancels it until it is on its way.
func (h *Handler) send(ctx context.Context, until time.Time, req *http.Request, answer *RetryResponse) Result {
	var started atomic.Bool
	alone, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if !started.Load() {
			cancel()
		}
	})
	defer stop()
	var out holdoff.Outcome
	alone = holdoff.WithoutRetry(holdoff.WithOutcome(alone, &out))
	alone = httptrace.WithClientTrace(alone, &httptrace.ClientTrace{GetConn: func(string) { started.Store(true) }})

	resp, err := h.Transport.RoundTrip(req.WithContext(alone))
	if err != nil {
		answer.Error = scrubbed(out, err)
		if held, ok := errors.AsType[*holdoff.HeldError](err); ok {
			answer.RetryAfter = held.RetryAfter().Milliseconds()
		}
		return Result{Sent: out.Attempts > 0, Err: answer.Error}
	}
	if resp.StatusCode != http.StatusSwitchingProtocols { // whose body is a connection that ends with nothing
		io.CopyN(io.Discard, resp.Body, 64<<10)
	}
	resp.Body.Close()
	answer.Status = resp.StatusCode
	answer.Error = failure(resp.StatusCode, out)
	return Result{Sent: true, Good: answer.Error == "", Status: resp.StatusCode, Err: answer.Error}
}

// failure says why an answer does not end a parked request: "" where it does.
func failure(status int, out holdoff.Outcome) string {
	said := fmt.Sprintf("the server answered %d %s", status, http.StatusText(status))
	switch {
	case status >= 300 && status < 400:
		return said + ", which is not followed"
	case status < 200 || status >= 400:
		return said
	case out.Ended == holdoff.EndNoRetry:
		return said + ", which the Transport would retry"
	}
	return ""
}

// scrubbed is err as it may be shown: our own errors hold no secret, and of
// those of the transport only the kind is reported.
func scrubbed(out holdoff.Outcome, err error) string {
	if out.Attempts == 0 {
		return err.Error()
	}
	v := holdoff.DefaultClassify(&http.Request{Method: http.MethodGet}, nil, err)
	return "no response: " + v.Reason
}
