package retryapi

import (
	"cmp"
	"fmt"
	"time"
)

// Bounds limit a lot. At Requests or Bytes, the oldest requests are dropped first,
// except claimed ones. If only claimed ones are left, no more requests are parked.
type Bounds struct {
	// Requests is how many requests are kept at most. If zero, 1,000.
	Requests int
	// Bytes is how much is kept of all requests together: their bodies, and what
	// Header counts. If zero, 64 MiB.
	Bytes int64
	// Body bounds the body of one request, in bytes. If zero, 1 MiB. A request
	// with a longer one is not parked.
	Body int64
	// Header bounds the method, URL, key and headers of one request, in bytes. A
	// header line counts as its name, its value and 32 bytes, as in HTTP/2
	// (RFC 9113, section 6.5.2). If zero, 64 KiB. A request with more is not
	// parked.
	Header int64
	// Age is how long a request is kept. If zero, one hour.
	Age time.Duration
}

func (b Bounds) withDefaults() (Bounds, error) {
	for _, f := range []struct {
		name  string
		value int64
	}{{"Requests", int64(b.Requests)}, {"Bytes", b.Bytes}, {"Body", b.Body}, {"Header", b.Header}, {"Age", int64(b.Age)}} {
		if f.value < 0 {
			return b, fmt.Errorf("retryapi: Bounds.%s is %d; it must not be negative", f.name, f.value)
		}
	}
	return Bounds{
		Requests: cmp.Or(b.Requests, 1000),
		Bytes:    cmp.Or(b.Bytes, 64<<20),
		Body:     cmp.Or(b.Body, 1<<20),
		Header:   cmp.Or(b.Header, 64<<10),
		Age:      cmp.Or(b.Age, time.Hour),
	}, nil
}
