package holdoff

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// A progress records how far net/http got with one attempt, so that a request
// which is not idempotent can be sent again where it never left. It costs
// allocations: only such requests have one.
type progress struct {
	trace httptrace.ClientTrace
	seen  atomic.Uint32
}

// What net/http does, in this order. It may begin again, so that these are bits.
const (
	seekingConnection = 1 << iota
	gotConnection
	gotAnother // connection
	wroteHeaders
)

type progressKey struct{}

func withProgress(ctx context.Context) context.Context {
	p := &progress{}
	p.trace = httptrace.ClientTrace{
		GetConn: func(string) { p.seen.Or(seekingConnection) },
		GotConn: func(httptrace.GotConnInfo) {
			if p.seen.Or(gotConnection)&gotConnection != 0 {
				p.seen.Or(gotAnother)
			}
		},
		WroteHeaders: func() { p.seen.Or(wroteHeaders) },
	}
	return httptrace.WithClientTrace(context.WithValue(ctx, progressKey{}, p), &p.trace)
}

// progressOf returns nil where the attempt has none.
func progressOf(req *http.Request) *progress {
	p, _ := req.Context().Value(progressKey{}).(*progress)
	return p
}

// unconnected reports whether the request never had a connection. It is false
// where that is not known: a Base that is not net/http may report nothing.
func (p *progress) unconnected() bool {
	return p != nil && p.seen.Load() == seekingConnection
}

// unwritten reports whether the headers were not written to their end, so that
// no server can have processed the request. It holds only for an error that
// ended the connection: where the attempt's context ends, net/http returns while
// HTTP/2 may still be writing. Use unconnected there.
func (p *progress) unwritten() bool {
	return p != nil && p.seen.Load()&(seekingConnection|wroteHeaders) == seekingConnection
}

// unwrittenOnIdle reports the same for an error that says that the server had
// closed an idle connection. net/http closes its side before it begins the
// request, and so writes nothing to the network; but it may fill its buffer, and
// then calls WroteHeaders. Only another connection can have carried the request.
func (p *progress) unwrittenOnIdle() bool {
	return p.unwritten() || (p != nil && p.seen.Load()&(seekingConnection|gotAnother) == seekingConnection)
}
