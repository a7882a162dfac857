package replay

import (
	"io"
	"net/http"
	"time"
)

// A response that another attempt follows is read to its end, so that its
// connection can be used again, but not further than DrainLimit bytes and not for
// longer than DrainTime: a new connection costs less.
const (
	DrainLimit = 64 << 10
	DrainTime  = 200 * time.Millisecond
)

// Drain ends a response that the caller will not get: it is read to its end within
// bounds of bytes and of time, then closed. A server that stops in the middle, or
// that waits for an upload which has ended, can't hold up the retry.
//
// closeEndsRead says that closing the body ends a read that is under way, whatever
// decodes it. A body that Base decodes can't be closed while its decoder waits for
// the first byte (net/http's waits for the lock that the read holds), except through
// the attempt's own context. To close it unread costs an HTTP/1 connection; to read
// it may cost a goroutine and a connection for as long as the server likes.
func Drain(resp *http.Response, closeEndsRead bool) {
	if resp.Body == http.NoBody {
		return
	}
	if resp.ContentLength > DrainLimit || (resp.Uncompressed && !closeEndsRead) {
		resp.Body.Close()
		return
	}
	// Closing a body that is being read is what net/http allows, and the only
	// way to end the read.
	late := time.AfterFunc(DrainTime, func() { resp.Body.Close() })
	io.CopyN(io.Discard, resp.Body, DrainLimit)
	if late.Stop() {
		resp.Body.Close()
	}
}
