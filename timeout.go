package holdoff

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// attemptTimeout is the error of an attempt that PerAttemptTimeout ended.
type attemptTimeout struct{ limit time.Duration }

func (e *attemptTimeout) Error() string {
	return fmt.Sprintf("holdoff: no response headers within %v (PerAttemptTimeout)", e.limit)
}
func (e *attemptTimeout) Timeout() bool   { return true }
func (e *attemptTimeout) Temporary() bool { return true }

// Is makes the error what those of http.Client.Timeout and
// http.Transport.ResponseHeaderTimeout are.
func (e *attemptTimeout) Is(target error) bool { return target == context.DeadlineExceeded }

// sendWithin sends req through base, and ends the attempt where no response
// headers have come within limit. Reading the body after that is not
// limited; the context lives until it is read or closed.
func sendWithin(limit time.Duration, base http.RoundTripper, req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	late := &attemptTimeout{limit}
	timer := time.AfterFunc(limit, func() { cancel(late) })
	resp, err := base.RoundTrip(req.WithContext(ctx))
	inTime := timer.Stop()
	if !inTime && context.Cause(ctx) == error(late) {
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		cancel(nil)
		return nil, late
	}
	if resp == nil || resp.Body == nil || resp.Body == http.NoBody {
		cancel(nil)
		return resp, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body = &cancelBody{resp.Body, cancel}
	}
	return resp, err
}

// cancelBody frees a context when its body comes to an end.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *cancelBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.cancel(nil)
	}
	return n, err
}

// Close ends a read that is in progress first: some bodies can't be closed before.
func (b *cancelBody) Close() error {
	b.cancel(nil)
	return b.ReadCloser.Close()
}
