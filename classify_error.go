package holdoff

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// classifyError judges errors of the transport: the first rule that fits.
//
// A request that is not idempotent is sent again only where it provably was not
// processed: because the error says so, or because net/http reported that it
// never wrote the request (see progress). An error that looks temporary is not
// made final by this, nor a final one temporary: a proxy that requires a password
// requires it for the next attempt as well.
func classifyError(req *http.Request, err error) Verdict {
	again, sent := Idempotent(req), progressOf(req)
	switch {
	case requestEnded(req):
		return Verdict{Reason: string(EndContext)}
	case isTrust(err):
		return Verdict{Reason: "certificate or TLS"}
	case is[*net.DNSError](err):
		return classifyLookup(err)
	case isRefusedStream(err):
		// RFC 9113, section 8.7: not processed, and not a failure.
		return Verdict{Retry: true, Reason: "refused stream"}
	case isDial(err):
		return Verdict{Retry: true, Lesson: Unreachable, Reason: "dial"}
	case is[*HeldError](err):
		return Verdict{Reason: "held below"} // by a Transport that is our Base
	case isProxyStatus(err):
		return Verdict{Retry: again || sent.unconnected(), Lesson: Unreachable, Reason: "proxy"}
	case isTimeout(err):
		return Verdict{Retry: again || sent.unconnected(), Lesson: Unreachable, Reason: "timeout"}
	case errors.Is(err, context.Canceled):
		// The caller still waits, so Base canceled the attempt.
		return Verdict{Retry: again || sent.unconnected(), Lesson: Unreachable, Reason: "canceled below"}
	case isIdleClosed(err):
		return Verdict{Retry: again || sent.unwrittenOnIdle(), Reason: "connection closed"}
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		// This process closed the connection, for example a dialer that changes
		// certificates. It says nothing about the host.
		return Verdict{Retry: again || sent.unwritten(), Reason: "connection closed"}
	case isBroken(err), isResetStream(err), isLost(err):
		return Verdict{Retry: again || sent.unwritten(), Lesson: Unreachable, Reason: "connection broken"}
	}
	if g, ok := goAwayOf(err); ok {
		return Verdict{Retry: !g.requestIsWhy() && (again || g.unprocessed), Reason: "goaway"}
	}
	return Verdict{Reason: "error"}
}

// requestEnded reports whether the caller no longer wants the request.
func requestEnded(req *http.Request) bool {
	select {
	case <-cancelChannel(req):
		return true
	default:
		return req.Context().Err() != nil
	}
}

// cancelChannel returns what callers that are older than contexts end a request
// with. net/http obeys it, so waits do as well.
func cancelChannel(req *http.Request) <-chan struct{} {
	return req.Cancel //lint:ignore SA1019 it is deprecated for callers
}

// classifyLookup judges failures of DNS. Nothing was sent, so any method may try
// again.
func classifyLookup(err error) Verdict {
	dns, _ := errors.AsType[*net.DNSError](err)
	if dns.IsNotFound || !(dns.IsTemporary || dns.IsTimeout) {
		return Verdict{Reason: "no such host"}
	}
	return Verdict{Retry: true, Lesson: Unreachable, Reason: "name lookup"}
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
	return anyIn(err, func(err error) bool {
		t, ok := err.(interface{ Timeout() bool })
		return ok && t.Timeout()
	})
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

// anyIn reports whether test holds for an error of err's tree.
func anyIn(err error, test func(error) bool) bool {
	if err == nil {
		return false
	}
	if test(err) {
		return true
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		return anyIn(err.Unwrap(), test)
	case interface{ Unwrap() []error }:
		for _, err := range err.Unwrap() {
			if anyIn(err, test) {
				return true
			}
		}
	}
	return false
}
