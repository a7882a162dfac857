package holdoff

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Verdict is what a classifier makes of one outcome.
type Verdict struct {
	// Retry tells that another attempt may succeed and does no harm.
	Retry bool
	// Lesson is what the outcome teaches about the key. If zero, Nothing; a
	// response below 400 that isn't retried counts as Good all the same.
	Lesson Lesson
	// Hint is how long the server asked to be left alone; 0 where it did not ask.
	Hint time.Duration
	// Reason is a word or two for people; it never holds data of the request.
	Reason string
}

// A Lesson is what an outcome teaches about the host behind a key.
type Lesson int

const (
	Nothing     Lesson = iota // it does not tell: the caller left, the request was bad
	Good                      // the host is up
	Refused                   // the host is up and wants less: backpressure, not damage
	Failed                    // the host answered that it is failing
	Unreachable               // no answer: the host or this process's own network
)

// String returns the lesson in a word.
func (l Lesson) String() string {
	return [...]string{"nothing", "good", "refused", "failed", "unreachable"}[l]
}

// DefaultClassify is the [Transport]'s classifier where Classify is nil. One of
// resp and err is nil. It knows errors by type, and by text only those of
// net/http that have none. Wrap it to change some of its verdicts.
func DefaultClassify(req *http.Request, resp *http.Response, err error) Verdict {
	if err != nil {
		return classifyError(req, err)
	}
	if resp.StatusCode < 400 {
		// 1xx, 2xx and 3xx: redirects are http.Client's.
		return Verdict{Lesson: Good, Reason: "ok"}
	}
	return classifyFailure(req, resp, time.Now())
}

// classifyFailure judges statuses from 400 on.
func classifyFailure(req *http.Request, resp *http.Response, now time.Time) Verdict {
	v := Verdict{Lesson: Good, Reason: "client error"}
	unprocessed := false
	switch code := resp.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		v = Verdict{Retry: true, Lesson: Nothing, Reason: "asked to repeat"}
	case code == http.StatusTooManyRequests:
		v = Verdict{Retry: true, Lesson: Refused, Reason: "too many requests"}
		unprocessed = true
	case code == http.StatusForbidden && limited(resp.Header, now):
		v = Verdict{Retry: true, Lesson: Refused, Reason: "rate limit behind 403"}
	case code == http.StatusConflict && Attempt(req.Context()) > 0 && hasIdempotencyKey(req):
		// The attempt before this one is still being worked on.
		v = Verdict{Retry: true, Lesson: Good, Reason: "first attempt still running"}
	case code == http.StatusNotImplemented, code == http.StatusHTTPVersionNotSupported:
		v.Reason = "not supported"
	case code == http.StatusNetworkAuthenticationRequired:
		v = Verdict{Lesson: Nothing, Reason: "captive portal"} // not the host that was asked
	case code >= 500:
		v = Verdict{Retry: true, Lesson: Failed, Reason: "server error"}
		unprocessed = code == http.StatusServiceUnavailable
	}

	hinted := false
	if v.Retry {
		v.Hint, hinted = hintOf(resp, now)
	}
	if v.Retry && !Idempotent(req) {
		// It may have been done, unless the server refused it at the door.
		if v.Retry = unprocessed && hinted; !v.Retry {
			v.Reason = "not idempotent"
		}
	}
	return serverSays(v, resp, now)
}

// serverSays lets the headers win with which servers say outright whether to
// retry (OpenAI, Anthropic; Stripe; gRPC proxies).
func serverSays(v Verdict, resp *http.Response, now time.Time) Verdict {
	for _, name := range []string{"X-Should-Retry", "Stripe-Should-Retry"} {
		switch strings.ToLower(strings.TrimSpace(resp.Header.Get(name))) {
		case "true":
			if v.Hint == 0 {
				v.Hint, _ = hintOf(resp, now)
			}
			v.Retry = true
		case "false":
			v.Retry, v.Reason = false, "server says not to retry"
		}
	}
	if push := resp.Header.Get("Grpc-Retry-Pushback-Ms"); push != "" {
		ms, err := strconv.ParseInt(push, 10, 32)
		if err != nil || ms < 0 {
			v.Retry, v.Reason = false, "server says not to retry"
		} else if v.Retry {
			v.Hint = time.Duration(ms) * time.Millisecond
		}
	}
	return v
}

// Idempotent reports whether req may be sent again though it may have been
// processed: by its method (RFC 9110, section 9.2.2), by an Idempotency-Key or
// X-Idempotency-Key in its header map (also an empty one, which net/http takes
// as "idempotent, and do not send the header"), or by [WithIdempotent].
func Idempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return hasIdempotencyKey(req) || optionsOf(req.Context()).idempotent
}

func hasIdempotencyKey(req *http.Request) bool {
	_, plain := req.Header["Idempotency-Key"]
	_, x := req.Header["X-Idempotency-Key"]
	return plain || x
}
