package retryapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Decoding of POST /retry, and the problems that it reports.

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
