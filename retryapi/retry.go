package retryapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
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
	// Result is "success" where the replay got a status below 400; the request
	// is no longer parked then. Otherwise it is "failure".
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

// problem is an error as RFC 9457 has it.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"`
	// Of a conflict.
	NextAttemptNumber *int  `json:"nextAttemptNumber,omitempty"`
	InFlight          *bool `json:"inFlight,omitempty"`
}

func (p *problem) Error() string { return p.Detail }

func (p *problem) write(w http.ResponseWriter) {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

func writeJSON(w http.ResponseWriter, status int, kind string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{}`)
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

// maxCall bounds the body of POST /retry, in bytes.
const maxCall = 4 << 10

// decode reads a RetryRequest, and names what is wrong with it.
func decode(r *http.Request, maxSleep time.Duration) (RetryRequest, *problem) {
	bad := func(status int, field, detail string, args ...any) (RetryRequest, *problem) {
		return RetryRequest{}, &problem{Status: status, Field: field, Detail: fmt.Sprintf(detail, args...)}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return bad(http.StatusUnsupportedMediaType, "", "the Content-Type must be application/json")
	}
	if !sameOrigin(r) {
		return bad(http.StatusForbidden, "", "a page of another origin may not do this")
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxCall+1)) // serveRetry bounds its time
	if err != nil {
		return bad(http.StatusBadRequest, "", "the body can't be read")
	}
	if len(raw) > maxCall {
		return bad(http.StatusRequestEntityTooLarge, "", "the body has more than %d bytes", maxCall)
	}
	var call struct {
		// Not json.Number, which takes a string for a number.
		ID            *string          `json:"id"`
		AttemptNumber *json.RawMessage `json:"attemptNumber"`
		SleepDuration *json.RawMessage `json:"sleepDuration"`
		Jitter        *json.RawMessage `json:"jitter"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&call); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			if wrong.Field == "" {
				return bad(http.StatusBadRequest, "", "the body must be a RetryRequest, not a %s", wrong.Value)
			}
			return bad(http.StatusBadRequest, wrong.Field, "%s must be a string, not a %s", wrong.Field, wrong.Value)
		}
		return bad(http.StatusBadRequest, "", "the body is not a RetryRequest: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return bad(http.StatusBadRequest, "", "there is more after the RetryRequest")
	}
	switch {
	case call.ID == nil || *call.ID == "":
		return bad(http.StatusBadRequest, "id", "id is missing")
	case len(*call.ID) > 128:
		return bad(http.StatusBadRequest, "id", "id has more than 128 bytes")
	case call.AttemptNumber == nil:
		return bad(http.StatusBadRequest, "attemptNumber", "attemptNumber is missing")
	}
	req := RetryRequest{ID: *call.ID}
	for _, f := range []struct {
		name  string
		value *json.RawMessage
		most  int64
		set   func(int64)
	}{
		{"attemptNumber", call.AttemptNumber, math.MaxInt32, func(n int64) { req.AttemptNumber = int(n) }},
		{"sleepDuration", call.SleepDuration, maxSleep.Milliseconds(), func(n int64) { req.SleepDuration = n }},
		{"jitter", call.Jitter, maxSleep.Milliseconds(), func(n int64) { req.Jitter = n }},
	} {
		if f.value == nil {
			continue
		}
		if kind := jsonType(*f.value); kind != "number" {
			return bad(http.StatusBadRequest, f.name, "%s must be a number, not a %s", f.name, kind)
		}
		n, err := strconv.ParseInt(string(*f.value), 10, 64)
		if err != nil || n < 0 || n > f.most {
			return bad(http.StatusBadRequest, f.name, "%s is %s; it must be an integer from 0 to %d", f.name, *f.value, f.most)
		}
		f.set(n)
	}
	return req, nil
}

func jsonType(value json.RawMessage) string {
	switch value[0] {
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	case '{':
		return "object"
	case '[':
		return "array"
	}
	return "number"
}

// sameOrigin reports whether r comes from the handler's own origin, or from no
// browser at all.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		// A page can't forge it, and a proxy that changes the Host does not touch it.
		return true
	case "":
	default:
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
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

// problemOf turns an error of the lot into an answer.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if c, ok := errors.AsType[*ConflictError](err); ok {
		return &problem{Status: http.StatusConflict, Field: "attemptNumber", Detail: strings.TrimPrefix(c.Error(), "retryapi: "), NextAttemptNumber: &c.Next, InFlight: &c.InFlight}
	}
	if errors.Is(err, ErrUnknown) {
		return &problem{Status: http.StatusNotFound, Field: "id", Detail: "no such parked request: it never was, it has expired, or it is done with"}
	}
	return &problem{Status: http.StatusServiceUnavailable, Detail: "the parked requests can't be reached at present"}
}

// replay makes one attempt of a parked request.
func (h *Handler) replay(ctx context.Context, call RetryRequest) (RetryResponse, error) {
	answer := RetryResponse{ID: call.ID, AttemptNumber: call.AttemptNumber, Result: "failure"}
	sleep := time.Duration(call.SleepDuration) * time.Millisecond
	if call.Jitter > 0 {
		sleep += rand.N(time.Duration(call.Jitter)*time.Millisecond + 1)
	}
	// Not with ctx: of a call that was cut off nobody would know whether it has
	// claimed the attempt.
	claim, err := h.Lot.Claim(context.WithoutCancel(ctx), call.ID, call.AttemptNumber, sleep+replayTimeout+claimSlack)
	if err != nil {
		return answer, err
	}
	var result Result
	defer func() {
		if err := h.settle(ctx, claim, result); err != nil {
			h.log().Warn("a replay's result is not noted: the request stays parked", zap.String("id", call.ID),
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
		answer.Error = "the caller is gone: nothing was sent"
		return answer, nil
	}
	answer.Slept = time.Since(begun).Milliseconds()

	if wrong := h.prepare(claim); wrong != "" {
		answer.Error = wrong
		return answer, nil
	}
	if err := h.Lot.Begin(ctx, claim); err != nil {
		return answer, err
	}
	result = Result{Sent: true, Err: "the attempt broke off"} // where something panics in it
	result = h.send(ctx, claim.Request, &answer)
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
			// Nobody else settles a claim: an earlier try has arrived.
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

// prepare puts credentials back. It returns what stands against a replay.
func (h *Handler) prepare(c *Claim) string {
	if h.Prepare == nil {
		if len(c.Withheld) > 0 {
			return fmt.Sprintf("nothing was sent: %v was not kept with the request, and Handler.Prepare is not set", c.Withheld)
		}
		return ""
	}
	if err := h.Prepare(c.Request); err != nil {
		h.log().Warn("Prepare failed", zap.String("id", c.ID), zap.Error(err))
		return "nothing was sent: the request could not be prepared"
	}
	return ""
}

// send sends a parked request once, through the Transport's hold. The end of ctx
// cancels it until it is on its way.
func (h *Handler) send(ctx context.Context, req *http.Request, answer *RetryResponse) Result {
	var started atomic.Bool
	alone, cancel := context.WithTimeout(context.WithoutCancel(ctx), replayTimeout)
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
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
	answer.Status = resp.StatusCode
	if resp.StatusCode >= 400 {
		answer.Error = fmt.Sprintf("the server answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
		return Result{Sent: true, Status: resp.StatusCode, Err: answer.Error}
	}
	return Result{Sent: true, Good: true, Status: resp.StatusCode}
}

// scrubbed is err as it may be shown: our own errors hold no secret, and of
// those of the transport only the kind is told.
func scrubbed(out holdoff.Outcome, err error) string {
	if out.Attempts == 0 {
		return err.Error()
	}
	v := holdoff.DefaultClassify(&http.Request{Method: http.MethodGet}, nil, err)
	return "no response: " + v.Reason
}
