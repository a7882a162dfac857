package vendors

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
)

// peekLimit is how much of a body is read. The longest refusal that is looked for
// is Gemini's with several violations: about 4 KiB.
const peekLimit = 16 << 10

// peek returns the beginning of resp's body, which stays unread for the caller.
// It reads until the body ends, the limit is reached, or enough (if not nil) says
// so. It returns nil for a body that is not to be read, or is compressed.
func peek(resp *http.Response, enough func(head []byte) bool) []byte {
	if p, ok := resp.Body.(*peeked); ok {
		return p.head // by another classifier
	}
	if resp.Body == nil || resp.Body == http.NoBody || !readable(resp.Header) {
		return nil
	}
	head, err := readHead(resp.Body, enough)
	p := &peeked{ReadCloser: resp.Body, head: head, left: head}
	if err != io.EOF {
		p.err = err
	}
	resp.Body = p
	return head
}

// readable reports whether a body comes at once and as it is.
func readable(h http.Header) bool {
	encoding := h.Get("Content-Encoding")
	if encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false
	}
	return mediaType(h) != "text/event-stream"
}

func mediaType(h http.Header) string {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}

func readHead(r io.Reader, enough func([]byte) bool) ([]byte, error) {
	head := make([]byte, 0, bytes.MinRead)
	for len(head) < peekLimit {
		if len(head) == cap(head) {
			head = append(head, 0)[:len(head)]
		}
		n, err := r.Read(head[len(head):min(cap(head), peekLimit)])
		head = head[:len(head)+n]
		if err != nil {
			return head, err
		}
		if enough != nil && enough(head) {
			break
		}
	}
	return head, nil
}

// peeked is a body of which the beginning was read, and is read again.
type peeked struct {
	io.ReadCloser
	head, left []byte
	err        error // how the beginning ended, unless well
	closed     atomic.Bool
}

func (p *peeked) Read(b []byte) (int, error) {
	switch {
	case p.closed.Load():
	case len(p.left) > 0:
		n := copy(b, p.left)
		p.left = p.left[n:]
		return n, nil
	case p.err != nil:
		return 0, p.err // a reader need not repeat its error
	}
	return p.ReadCloser.Read(b)
}

func (p *peeked) Close() error {
	p.closed.Store(true)
	return p.ReadCloser.Close()
}

// objects reads a JSON object, or the objects of an array. A field of another type
// than expected is left out, since servers that copy an API are not exact.
func objects[T any](body []byte) []T {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil
	}
	var list []T
	var err error
	if body[0] == '[' {
		err = json.Unmarshal(body, &list)
	} else {
		list = make([]T, 1)
		err = json.Unmarshal(body, &list[0])
	}
	if _, mismatch := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !mismatch {
		return nil
	}
	return list
}
