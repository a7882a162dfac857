package retryapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-holdoff/holdoff"
)

// A Lot keeps parked requests, and hands each out for one attempt at a time.
// [MemoryLot] keeps them in this process, [RedisLot] in Redis, where any replica
// can replay them.
type Lot interface {
	holdoff.Lot

	// Claim reserves the attempt with that number for the caller, for as long
	// as lease. The errors are ErrUnknown and a *ConflictError; any other one
	// means that the lot is out of order.
	Claim(ctx context.Context, id string, attempt int, lease time.Duration) (*Claim, error)

	// Begin says that the attempt is about to be made: from here on its number
	// is used up, whatever becomes of it. It fails with a *ConflictError where
	// the lease ran out and somebody else has the number.
	Begin(ctx context.Context, c *Claim) error

	// Settle ends a claim with what came of it.
	Settle(ctx context.Context, c *Claim, r Result) error

	// List returns what is parked, the latest first, at most limit of them, and
	// how many there are.
	List(ctx context.Context, limit int) (parked []Summary, total int, err error)
}

// Claim is the right to make one attempt of a parked request.
type Claim struct {
	ID      string
	Attempt int
	Request *http.Request // with its body; Withheld headers are missing
	// Withheld names the headers that the lot did not keep, because they are
	// credentials and it is shared.
	Withheld []string

	token string
}

// Result is what came of a claim.
type Result struct {
	Sent   bool // the attempt was made
	Good   bool // and the request is done with
	Status int
	Err    string
}

// Summary is what can be shown of a parked request: no header, no body, and of
// its URL no user info and no query.
type Summary struct {
	ID       string    `json:"id"`
	Method   string    `json:"method"`
	URL      string    `json:"url"`
	Key      string    `json:"key"`
	Size     int       `json:"size"`          // of the body, in bytes
	Attempt  int       `json:"attemptNumber"` // of the next attempt
	Ended    string    `json:"ended"`         // why it was given up
	Status   int       `json:"status,omitempty"`
	Error    string    `json:"error,omitempty"`
	Parked   time.Time `json:"parked"`
	InFlight bool      `json:"inFlight"` // somebody is making an attempt
}

// ErrUnknown is the error for an id that is not parked: it never was, it has
// expired, or it is done with.
var ErrUnknown = errors.New("retryapi: no such parked request")

// A ConflictError is the error for an attempt that is not the next one, or that
// somebody else is making.
type ConflictError struct {
	Next     int  // the number of the next attempt
	InFlight bool // somebody is making it
}

// Error says which attempt is the next one.
func (e *ConflictError) Error() string {
	if e.InFlight {
		return fmt.Sprintf("retryapi: attempt %d is being made by somebody else", e.Next)
	}
	return fmt.Sprintf("retryapi: the next attempt has the number %d", e.Next)
}

// Bounds are those of a lot. Where one is met, the oldest requests go first.
type Bounds struct {
	Requests int           // how many are kept at most. If zero, 1,000.
	Bytes    int64         // of bodies, in all. If zero, 64 MiB.
	Body     int64         // of one body. If zero, 1 MiB. A longer one is not parked.
	Age      time.Duration // how long one is kept. If zero, one hour.
}

func (b Bounds) withDefaults() (Bounds, error) {
	for _, f := range []struct {
		name  string
		value int64
	}{{"Requests", int64(b.Requests)}, {"Bytes", b.Bytes}, {"Body", b.Body}, {"Age", int64(b.Age)}} {
		if f.value < 0 {
			return b, fmt.Errorf("retryapi: Bounds.%s is %d; it must not be negative", f.name, f.value)
		}
	}
	if b.Requests == 0 {
		b.Requests = 1000
	}
	if b.Bytes == 0 {
		b.Bytes = 64 << 20
	}
	if b.Body == 0 {
		b.Body = 1 << 20
	}
	if b.Age == 0 {
		b.Age = time.Hour
	}
	b.Body = min(b.Body, b.Bytes)
	return b, nil
}

// record is a parked request as lots keep it.
type record struct {
	Method   string      `json:"method"`
	URL      string      `json:"url"`
	Host     string      `json:"host,omitempty"`
	Header   http.Header `json:"header"`
	Withheld []string    `json:"withheld,omitempty"`
	Key      string      `json:"key"`
	Ended    string      `json:"ended"`
	Size     int         `json:"size"`
	Stream   bool        `json:"stream,omitempty"` // its length was not declared

	body []byte
}

// newID returns 128 bits of chance.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x", b)
}

// recordOf copies p, with its body if that is no longer than limit.
func recordOf(p holdoff.Parked, limit int64) (record, error) {
	req := p.Request
	r := record{
		Method: cmp.Or(req.Method, http.MethodGet), URL: req.URL.String(), Host: req.Host, Header: req.Header.Clone(),
		Key: p.Key, Ended: string(p.Ended),
	}
	if len(req.Trailer) > 0 {
		return r, errors.New("retryapi: not parked: the request has a trailer, which is not kept")
	}
	if req.GetBody == nil {
		return r, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return r, fmt.Errorf("retryapi: not parked: %w", err)
	}
	defer body.Close()
	r.body, err = io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return r, fmt.Errorf("retryapi: not parked: reading the body: %w", err)
	}
	if int64(len(r.body)) > limit {
		return r, fmt.Errorf("retryapi: not parked: the body has more than %d bytes (Bounds.Body)", limit)
	}
	r.Size = len(r.body)
	// To net/http 0 says that the length is not known, where there is a body.
	r.Stream = req.ContentLength < 0 || (req.ContentLength == 0 && r.Size > 0)
	return r, nil
}

// withhold takes credentials out of r, for a lot that others can read.
func (r *record) withhold() error {
	for name := range r.Header {
		// Also in a spelling that is not canonical: net/http sends it all the same.
		switch canonical := http.CanonicalHeaderKey(name); canonical {
		case "Authorization", "Cookie", "Proxy-Authorization":
			delete(r.Header, name)
			if !slices.Contains(r.Withheld, canonical) {
				r.Withheld = append(r.Withheld, canonical)
			}
		}
	}
	slices.Sort(r.Withheld)
	req, err := r.request()
	if err != nil {
		return err
	}
	if req.URL.User != nil {
		// net/http makes an Authorization header of it.
		req.URL.User = nil
		r.URL = req.URL.String()
		if !slices.Contains(r.Withheld, "Authorization") {
			r.Withheld = append(r.Withheld, "Authorization")
		}
	}
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
	if err != nil {
		return nil, fmt.Errorf("retryapi: the parked request is damaged: %w", err)
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
		return nil, err
	}
	return &Claim{ID: id, Attempt: attempt, Request: req, Withheld: r.Withheld, token: token}, nil
}

func (r *record) summary(id string) Summary {
	s := Summary{ID: id, Method: r.Method, Key: r.Key, Size: r.Size, Ended: r.Ended}
	if req, err := r.request(); err == nil {
		u := *req.URL
		u.User, u.RawQuery, u.ForceQuery, u.Fragment = nil, "", false, ""
		s.URL = u.String()
	}
	return s
}
