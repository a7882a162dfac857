package holdoff

import (
	"io"
	"net/http"
	"time"
)

const (
	// A discarded response is read to its end, so that its connection can be
	// used again, but not further than this and not for longer: a new
	// connection costs less.
	drainLimit = 64 << 10
	drainTime  = 200 * time.Millisecond
)

// drain ends a response that the caller will not get: it is read to its end within
// bounds of bytes and of time, then closed. A server that stops in the middle, or
// that waits for an upload which has ended, can't hold up the retry.
func drain(resp *http.Response) {
	if resp.Body == http.NoBody {
		return
	}
	if resp.ContentLength > drainLimit || !interruptible(resp) {
		resp.Body.Close()
		return
	}
	// Closing a body that is being read is what net/http allows, and the only
	// way to end the read.
	late := time.AfterFunc(drainTime, func() { resp.Body.Close() })
	io.CopyN(io.Discard, resp.Body, drainLimit)
	if late.Stop() {
		resp.Body.Close()
	}
}

// interruptible reports whether closing the body ends a read of it that is under
// way. A body that Base decodes can't be closed while its decoder waits for the
// first byte (net/http's waits for the lock that the read holds), except through
// the attempt's own context. To close it unread costs an HTTP/1 connection; to
// read it may cost a goroutine and a connection for as long as the server likes.
func interruptible(resp *http.Response) bool {
	_, own := resp.Body.(*cancelBody)
	return own || !resp.Uncompressed
}
