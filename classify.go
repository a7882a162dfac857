package holdoff

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
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
	return wordOf("lesson", int(l), "nothing", "good", "refused", "failed", "unreachable")
}

// DefaultClassify is the [Transport]'s classifier where Classify is nil. One of
// resp and err is nil. Its errors are those that a RoundTripper returns, told
// apart by type and never by text. Wrap it to change some of its verdicts.
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

// classifyError judges errors of the transport: the first rule that fits. Two
// that net/http makes of text alone can't be told: "server closed idle
// connection" and "client connection lost". It resends GET, HEAD, OPTIONS and
// TRACE by itself where it meets the first.
func classifyError(req *http.Request, err error) Verdict {
	var dns *net.DNSError
	switch again := Idempotent(req); {
	case errors.Is(err, context.Canceled):
		return Verdict{Reason: "canceled"}
	case isTrust(err):
		return Verdict{Reason: "certificate or TLS"}
	case errors.As(err, &dns):
		// Nothing was sent, so any method may try again.
		if dns.IsNotFound || !(dns.IsTemporary || dns.IsTimeout) {
			return Verdict{Reason: "no such host"}
		}
		return Verdict{Retry: true, Lesson: Unreachable, Reason: "name lookup"}
	case isRefusedStream(err):
		// RFC 9113, section 8.7: not processed, and not a failure.
		return Verdict{Retry: true, Reason: "refused stream"}
	case isDial(err):
		return Verdict{Retry: true, Lesson: Unreachable, Reason: "dial"}
	case is[*HeldError](err):
		return Verdict{Reason: "held below"} // by a Transport that is our Base
	case isTimeout(err):
		return Verdict{Retry: again, Lesson: Unreachable, Reason: "timeout"}
	case isGoAway(err):
		return Verdict{Retry: again, Reason: "goaway"}
	case isBroken(err), isResetStream(err):
		return Verdict{Retry: again, Lesson: Unreachable, Reason: "connection broken"}
	}
	return Verdict{Reason: "error"}
}

// isTrust finds failures to verify or to speak TLS, which a retry only repeats.
func isTrust(err error) bool {
	return is[*tls.CertificateVerificationError](err) ||
		is[x509.UnknownAuthorityError](err) || is[x509.HostnameError](err) ||
		is[x509.CertificateInvalidError](err) || is[x509.SystemRootsError](err) ||
		is[x509.ConstraintViolationError](err) || is[tls.RecordHeaderError](err) ||
		is[tls.AlertError](err) || is[*tls.ECHRejectionError](err) ||
		errors.Is(err, http.ErrSchemeMismatch)
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// isDial finds failures to connect: the request was not sent. Addresses that
// can't be dialled at all stay so.
func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || is[*net.AddrError](err) || is[*net.ParseError](err) || is[net.UnknownNetworkError](err) {
		return false
	}
	return op.Op == "dial" || op.Op == "proxyconnect" || op.Op == "socks connect"
}

// isTimeout looks at the whole tree of err: a wrapper with a Timeout method of
// its own, as url.Error has, asks no further than the error right below it.
func isTimeout(err error) bool {
	if t, ok := err.(interface{ Timeout() bool }); ok && t.Timeout() {
		return true
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		return isTimeout(err.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(err.Unwrap(), isTimeout)
	}
	return false
}

// isBroken finds connections that ended before the response headers.
func isBroken(err error) bool {
	for _, broken := range []error{
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE,
		syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
		io.EOF, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

// streamError has the shape of HTTP/2's stream errors, which net/http lets
// errors.As fill without naming their type (see its h2_error.go).
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "http2 stream error" }

// Codes of RFC 9113, section 7.
const (
	internalError   = 0x2
	refusedStream   = 0x7
	cancelledStream = 0x8
	calmDown        = 0xb
)

func isRefusedStream(err error) bool {
	var s streamError
	return errors.As(err, &s) && s.Code == refusedStream
}

// isResetStream finds streams that the server broke off, which over HTTP/1
// would have been a broken connection.
func isResetStream(err error) bool {
	var s streamError
	return errors.As(err, &s) && (s.Code == internalError || s.Code == cancelledStream || s.Code == calmDown)
}

// isGoAway finds connections that the server shut in an orderly way. net/http
// itself resends the streams that the server named as unprocessed; those that
// come up here may have been processed. Their type has no exported name in
// net/http, and one in golang.org/x/net/http2.
func isGoAway(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		switch reflect.TypeOf(err).Name() {
		case "http2GoAwayError", "GoAwayError":
			return true
		}
	}
	return false
}
