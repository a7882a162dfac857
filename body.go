package holdoff

import (
	"errors"
	"io"
	"net/http"
	"reflect"
	"sync"
	"time"
)

const (
	// replayLimit is how much of a body without GetBody is remembered.
	replayLimit = 64 << 10
	// readTime is how long a read of the body that is under way is waited for: net/http
	// looks for the end of a body also when the answer is there.
	readTime = 10 * time.Millisecond
)

// errNoReplay is returned where an attempt's GetBody has nothing to return.
var errNoReplay = errors.New("holdoff: request body can't be sent again: more than 64 KiB were read of it, or it is being read; set Request.GetBody")

var errDetached = errors.New("holdoff: request body was taken over by a later attempt")

// body lets a request body that the caller did not make replayable be sent
// more than once where that is possible, and tells a failure to read it from a
// failure to send it. It streams: what is read is remembered up to a limit, and
// nothing is read ahead. An attempt never shares a reader with another, since
// net/http may go on reading after RoundTrip has returned.
type body struct {
	mu      sync.Mutex // guards what follows; not held while src is read
	src     io.ReadCloser
	limit   int           // how much to remember
	head    []byte        // what has been read of src, while that is within the limit
	lost    bool          // it was not
	err     error         // how src ended: io.EOF, or a failure
	reading chan struct{} // closed when the read of src that is under way ends; nil if there is none
	view    *bodyView
	final   bool // no further attempt follows
	closed  bool // src is closed
}

// bodyView is the body of one attempt.
type bodyView struct {
	b      *body
	off    int
	begun  bool // it was read from
	closed bool
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// inMemory tells bodies that http.NewRequest makes of a bytes.Reader, a
// bytes.Buffer or a strings.Reader: reading them does not fail.
func inMemory(rc io.ReadCloser) bool {
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

// next returns the body of the next attempt, or nil where there can't be one
// more: too much was read to remember, reading failed, or the attempt before
// is stuck in the middle of a read.
func (b *body) next() io.ReadCloser {
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
	b.view = &bodyView{b: b}
	return b.view
}

// again is next as a GetBody of the attempt: net/http calls it where it knows that
// a request was not processed, and sends it on another connection.
func (b *body) again() (io.ReadCloser, error) {
	if rc := b.next(); rc != nil {
		return rc, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil && b.err != io.EOF {
		return nil, b.err
	}
	return nil, errNoReplay
}

// all returns the whole body, where the attempts have read it to its end and it
// was short enough to be remembered.
func (b *body) all() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.head, !b.lost && b.err == io.EOF
}

// failed reports whether err is how reading the body failed, or that it can't be
// read again.
func (b *body) failed(err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Is(err, errNoReplay) || (b.err != nil && b.err != io.EOF && errors.Is(err, b.err))
}

// finish closes the caller's body, or leaves that to the attempt that is still
// reading it. err is how that attempt ended: net/http may fail between its call
// of GetBody and the use of what that returned, and never closes it.
func (b *body) finish(err error) {
	b.mu.Lock()
	b.final = true
	closing := !b.closed && (b.view == nil || b.view.closed || (err != nil && !b.view.begun))
	b.closed = b.closed || closing
	b.mu.Unlock()
	if closing {
		b.src.Close()
	}
}

func (v *bodyView) Read(p []byte) (int, error) {
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
func (v *bodyView) Close() error {
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
