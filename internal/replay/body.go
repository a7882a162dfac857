// Package replay sends request bodies more than once, and ends responses that
// another attempt follows.
package replay

import (
	"errors"
	"io"
	"reflect"
	"sync"
	"time"
)

const (
	// Limit is how many bytes of a body without GetBody are remembered.
	Limit = 64 << 10
	// readTime is how long Next waits for a read of the body that is under way:
	// net/http looks for the end of a body even when the answer is there.
	readTime = 10 * time.Millisecond
)

// errNoReplay is the error of GetBody where there is nothing to return.
var errNoReplay = errors.New("holdoff: request body can't be sent again: more than 64 KiB were read of it, or it is being read; set Request.GetBody")

var errDetached = errors.New("holdoff: request body was taken over by a later attempt")

// A Body sends a request body that the caller did not make replayable more than
// once where that is possible, and distinguishes a failure to read it from a failure
// to send it. It streams: bytes that are read are remembered up to a limit, and
// nothing is read ahead. An attempt never shares a reader with another, since
// net/http may continue to read after RoundTrip has returned.
type Body struct {
	mu      sync.Mutex // guards the fields below; not held while src is read
	src     io.ReadCloser
	limit   int           // how many bytes to remember
	head    []byte        // the bytes that were read of src, while they are within the limit
	lost    bool          // they were more
	err     error         // how src ended: io.EOF, or a failure
	reading chan struct{} // closed when the read of src that is under way ends; nil if there is none
	view    *view
	final   bool // no further attempt follows
	closed  bool // src is closed
}

// view is the body of one attempt.
type view struct {
	b      *Body
	off    int
	begun  bool // it was read from
	closed bool
}

// New returns a Body that reads src, and remembers at most limit bytes of it.
func New(src io.ReadCloser, limit int) *Body { return &Body{src: src, limit: limit} }

// InMemory reports whether http.NewRequest made rc of a bytes.Reader, a
// bytes.Buffer or a strings.Reader: reading these does not fail.
func InMemory(rc io.ReadCloser) bool {
	t := reflect.TypeOf(rc)
	return t == nopCloserType || t == nopCloserWriterToType
}

var (
	nopCloserType         = reflect.TypeOf(io.NopCloser(struct{ io.Reader }{}))
	nopCloserWriterToType = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)

// Remembers reports whether the body is remembered at all.
func (b *Body) Remembers() bool { return b.limit > 0 }

// Next returns the body of the next attempt, or nil where there can be none: too
// much was read to remember, reading failed, or the attempt before is stuck in the
// middle of a read.
func (b *Body) Next() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	if reading := b.reading; reading != nil {
		b.mu.Unlock()
		timer := time.NewTimer(readTime)
		select {
		case <-reading:
		case <-timer.C:
		}
		timer.Stop()
		b.mu.Lock()
	}
	if b.lost || b.reading != nil || b.closed || (b.err != nil && b.err != io.EOF) {
		return nil
	}
	b.view = &view{b: b}
	return b.view
}

// GetBody is Next as [net/http.Request.GetBody] of an attempt: net/http calls it
// where it knows that the server did not process a request, and sends that on
// another connection.
func (b *Body) GetBody() (io.ReadCloser, error) {
	if rc := b.Next(); rc != nil {
		return rc, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil && b.err != io.EOF {
		return nil, b.err
	}
	return nil, errNoReplay
}

// All returns the whole body, where the attempts have read it to its end and it
// was short enough to be remembered.
func (b *Body) All() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.head, !b.lost && b.err == io.EOF
}

// Failed reports whether err is how reading the body failed, or says that it can't
// be read again.
func (b *Body) Failed(err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Is(err, errNoReplay) || (b.err != nil && b.err != io.EOF && errors.Is(err, b.err))
}

// Finish closes the caller's body, or leaves that to the attempt that is still
// reading it. err is how that attempt ended: net/http may fail between its call
// of GetBody and the use of the reader that it got, and never closes that.
func (b *Body) Finish(err error) {
	b.mu.Lock()
	b.final = true
	closing := !b.closed && (b.view == nil || b.view.closed || (err != nil && !b.view.begun))
	b.closed = b.closed || closing
	b.mu.Unlock()
	if closing {
		b.src.Close()
	}
}

func (v *view) Read(p []byte) (int, error) {
	b := v.b
	b.mu.Lock()
	if b.view != v || v.closed || b.closed {
		b.mu.Unlock()
		return 0, errDetached
	}
	v.begun = true
	if v.off < len(b.head) {
		n := copy(p, b.head[v.off:])
		v.off += n
		b.mu.Unlock()
		return n, nil
	}
	if b.err != nil {
		defer b.mu.Unlock()
		return 0, b.err
	}
	reading := make(chan struct{})
	b.reading = reading
	b.mu.Unlock()

	n, err := b.src.Read(p)

	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = nil
	close(reading)
	b.err = err
	if !b.lost && len(b.head)+n > b.limit {
		b.lost, b.head = true, nil
	}
	if !b.lost {
		b.head = append(b.head, p[:n]...)
		v.off += n
	}
	return n, err
}

// Close closes the caller's body once it is known that no attempt follows.
func (v *view) Close() error {
	b := v.b
	b.mu.Lock()
	v.closed = true
	closing := b.final && b.view == v && !b.closed
	b.closed = b.closed || closing
	b.mu.Unlock()
	if closing {
		return b.src.Close()
	}
	return nil
}
