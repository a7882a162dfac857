package retryapi

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-holdoff/holdoff"
)

// record is a parked request as lots keep it.
type record struct {
	Method   string      `json:"method"`
	URL      string      `json:"url"`
	Host     string      `json:"host,omitempty"`
	Header   http.Header `json:"header"`
	Withheld []string    `json:"withheld,omitempty"`
	Size     int         `json:"size"`             // of the body
	Stream   bool        `json:"stream,omitempty"` // its length was not declared

	body []byte
}

// lineBytes is what a header line counts besides its name and its value: many
// short lines cost memory too.
const lineBytes = 32

// recordOf copies p, if it is within the bounds, and returns how many bytes of
// Bounds.Bytes it takes.
func recordOf(p holdoff.Parked, b Bounds) (r *record, size int64, err error) {
	req := p.Request
	r = &record{Method: cmp.Or(req.Method, http.MethodGet), URL: req.URL.String(), Host: strings.Clone(req.Host)}
	if len(req.Trailer) > 0 {
		return nil, 0, errors.New("retryapi: not parked: the request has a trailer, which is not kept")
	}
	size = int64(len(r.Method) + len(r.URL) + len(r.Host) + len(p.Key))
	for name, values := range req.Header {
		size += int64(max(len(values), 1) * (len(name) + lineBytes))
		for _, value := range values {
			size += int64(len(value))
		}
	}
	if size > b.Header {
		return nil, 0, fmt.Errorf("retryapi: not parked: method, URL, key and headers have %d bytes, more than %d (Bounds.Header)", size, b.Header)
	}
	r.Header = cloneHeader(req.Header)
	if err := r.readBody(req, b.Body); err != nil {
		return nil, 0, err
	}
	if size += int64(r.Size); size > b.Bytes {
		return nil, 0, fmt.Errorf("retryapi: not parked: the request has %d bytes, more than %d (Bounds.Bytes)", size, b.Bytes)
	}
	if _, err := r.request(); err != nil {
		return nil, 0, fmt.Errorf("retryapi: not parked: %w", err)
	}
	return r, size, nil
}

// cloneHeader copies the texts as well: they may be parts of a much longer one.
func cloneHeader(h http.Header) http.Header {
	c := make(http.Header, len(h))
	for name, values := range h {
		texts := make([]string, len(values))
		for i, value := range values {
			texts[i] = strings.Clone(value)
		}
		c[strings.Clone(name)] = texts
	}
	return c
}

func (r *record) readBody(req *http.Request, limit int64) error {
	if req.GetBody == nil {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return fmt.Errorf("retryapi: not parked: %w", err)
	}
	defer body.Close()
	r.body, err = io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return fmt.Errorf("retryapi: not parked: reading the body: %w", err)
	}
	if int64(len(r.body)) > limit {
		return fmt.Errorf("retryapi: not parked: the body has more than %d bytes (Bounds.Body)", limit)
	}
	r.Size = len(r.body)
	// To net/http 0 says that the length is not known, where there is a body.
	r.Stream = req.ContentLength < 0 || (req.ContentLength == 0 && r.Size > 0)
	return nil
}

// isText reports whether JSON gives r back as it is.
func (r *record) isText() bool {
	for name, values := range r.Header {
		if !utf8.ValidString(name) || !utf8.ValidString(strings.Join(values, " ")) {
			return false
		}
	}
	return utf8.ValidString(r.URL) && utf8.ValidString(r.Host)
}

// request makes the request again, byte for byte what it was.
func (r *record) request() (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequest(r.Method, r.URL, body)
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, which may hold credentials
	}
	if err != nil {
		return nil, err
	}
	req.Host = r.Host
	req.Header = r.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if r.Stream {
		req.ContentLength = -1
	}
	return req, nil
}

func (r *record) claim(id string, attempt int, token string) (*Claim, error) {
	req, err := r.request()
	if err != nil {
		return nil, fmt.Errorf("retryapi: the parked request is damaged: %w", err)
	}
	return &Claim{ID: id, Attempt: attempt, Request: req, Withheld: r.Withheld, token: token}, nil
}

// summaryOf is what a list shows of p, which is parked as r.
func summaryOf(id string, p holdoff.Parked, r *record) Summary {
	u := *p.Request.URL
	u.User, u.RawQuery, u.ForceQuery, u.Fragment = nil, "", false, ""
	return Summary{
		ID: id, Method: cut(r.Method), URL: cut(u.String()), Key: cut(p.Key), Size: r.Size, Ended: string(p.Ended),
		Attempt: p.Attempts, Status: p.Status, Error: errorText(p.Err),
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return cut(err.Error())
}

// maxShown bounds each text of a Summary, in bytes.
const maxShown = 1 << 10

func cut(s string) string {
	if len(s) <= maxShown {
		return strings.Clone(s)
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}
