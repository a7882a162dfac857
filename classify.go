package holdoff

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/ratelimitheader"
)

// A Verdict is the result of classifying one outcome.
type Verdict struct {
	// Retry reports whether another attempt may succeed and does no harm.
	Retry bool
	// Lesson is the signal about the key. If zero, Nothing; a
	// response below 400 that isn't retried and has no Hint counts as Good all the
	// same.
	Lesson Lesson
	// Hint is how long the server asked the client to wait; 0 if it did not ask.
	// With the lesson Nothing it holds the key only where the request was a probe.
	Hint time.Duration
	// Reason is a word or two for people; it never holds data of the request.
	Reason string
}

// A Lesson is the signal that an outcome gives about the host behind a key: see the
// constants.
type Lesson = hold.Lesson

const (
	Nothing     = hold.Nothing     // no signal: the caller left, or the request was bad
	Good        = hold.Good        // success: the server is up
	Refused     = hold.Refused     // throttled: the server is up and asks for less load
	Failed      = hold.Failed      // failure: the server answered that it is failing
	Unreachable = hold.Unreachable // no answer: the server or this process's own network is at fault
)

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
	asked := ratelimitheader.Read(resp, now)
	v := Verdict{Lesson: Good, Reason: "client error"}
	unprocessed := false
	switch code := resp.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		v = Verdict{Retry: true, Lesson: Nothing, Reason: "asked to repeat"}
	case code == http.StatusTooManyRequests:
		v = Verdict{Retry: true, Lesson: Refused, Reason: "too many requests"}
		unprocessed = true
	case code == http.StatusForbidden && (asked.Found || asked.Exhausted):
		v = Verdict{Retry: true, Lesson: Refused, Reason: "rate limit behind 403"}
		unprocessed = true
	case (code == http.StatusTeapot || code == ratelimitheader.StatusEnhanceYourCalm || code == ratelimitheader.StatusSecurityRejection) && asked.Delay > 0:
		v = Verdict{Retry: true, Lesson: Refused, Reason: "too many requests"}
		unprocessed = true
	case code == http.StatusRequestEntityTooLarge && asked.Delay > 0:
		v = Verdict{Retry: true, Lesson: Nothing, Reason: "too large for now"} // RFC 9110, section 15.5.14
	case code == http.StatusConflict && Attempt(req.Context()) > 0 && hasIdempotencyKey(req):
		// The attempt before this one is still being worked on.
		v = Verdict{Retry: true, Lesson: Good, Reason: "first attempt still running"}
	case code == http.StatusNotImplemented, code == http.StatusHTTPVersionNotSupported:
		v.Reason = "not supported"
	case code == http.StatusNetworkAuthenticationRequired:
		// A portal answered in place of the host, so its hint is ignored.
		v, asked = Verdict{Lesson: Nothing, Reason: "captive portal"}, ratelimitheader.Hint{}
	case code == http.StatusGatewayTimeout && onlyIfCached(req):
		return Verdict{Lesson: Nothing, Reason: "not in the cache"} // RFC 9111, section 5.2.1.7
	case code >= 500:
		v = Verdict{Retry: true, Lesson: Failed, Reason: "server error"}
		unprocessed = code == http.StatusServiceUnavailable
	}

	v.Hint = asked.Delay
	if v.Retry && !Idempotent(req) {
		// It may have been processed, unless the server refused it with a hint.
		if v.Retry = unprocessed && asked.Found; !v.Retry {
			v.Reason = "not idempotent"
		}
	}
	v = serverSays(v, resp)
	if v.Lesson == Good && v.Hint > 0 {
		v.Lesson = Nothing // a host that asks to come back later is not known to be healthy
	}
	return v
}

// serverSays applies the headers by which servers say explicitly whether to
// retry (OpenAI, Anthropic; Stripe; gRPC proxies).
func serverSays(v Verdict, resp *http.Response) Verdict {
	for _, name := range []string{"X-Should-Retry", "Stripe-Should-Retry"} {
		switch said := ratelimitheader.Value(resp.Header, name); {
		case strings.EqualFold(said, "true") && !v.Retry:
			v.Retry, v.Reason = true, "server says to retry"
		case strings.EqualFold(said, "false"):
			v.Retry, v.Reason = false, "server says not to retry"
		}
	}
	if push := ratelimitheader.Value(resp.Header, "Grpc-Retry-Pushback-Ms"); push != "" {
		ms, err := strconv.ParseInt(push, 10, 32)
		switch {
		case err != nil || ms < 0:
			v.Retry, v.Reason = false, "server says not to retry"
		case ms > 0:
			v.Hint = time.Duration(ms) * time.Millisecond
		}
	}
	return v
}

// onlyIfCached reports whether req asks for what a cache has, and for nothing else.
func onlyIfCached(req *http.Request) bool {
	for _, line := range req.Header["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(directive), "only-if-cached") {
				return true
			}
		}
	}
	return false
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
