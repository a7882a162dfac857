package overhead

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Case is one kind of work that the peers are measured at.
type Case struct {
	Site       string `json:"site"` // stub or loopback
	Work       string `json:"work"`
	Sends      int    `json:"sends"` // 2 where the first attempt is answered 503
	Goroutines int    `json:"goroutines"`
}

const (
	onStub     = "stub"
	onLoopback = "loopback"

	workGet    = "GET"
	workPut    = "PUT 64 KiB with GetBody"
	workStream = "PUT 1 MiB stream without GetBody"
)

var (
	sites      = []string{onStub, onLoopback}
	works      = []string{workGet, workPut, workStream}
	sends      = []int{1, 2}
	goroutines = []int{1, 2, maxGoroutines}
)

// cases are all of them, in the order in which tables show them.
func cases() []Case {
	var all []Case
	for _, site := range sites {
		for _, work := range works {
			for _, n := range sends {
				for _, g := range goroutines {
					all = append(all, Case{site, work, n, g})
				}
			}
		}
	}
	return all
}

var (
	upload  = make([]byte, 64<<10)
	streams = make([]byte, 1<<20)
)

// stream hides that its reader could be read again.
type stream struct{ r bytes.Reader }

func (s *stream) Read(p []byte) (int, error) { return s.r.Read(p) }
func (s *stream) Close() error               { return nil }

// body returns a new body for a request of the case, as a caller would make one.
func (c Case) body() io.ReadCloser {
	switch c.Work {
	case workPut:
		return io.NopCloser(bytes.NewReader(upload))
	case workStream:
		s := &stream{}
		s.r.Reset(streams)
		return s
	}
	return nil
}

func (c Case) newRequest(url string, lane int) (*http.Request, error) {
	method, length := http.MethodGet, 0
	switch c.Work {
	case workPut:
		method, length = http.MethodPut, len(upload)
	case workStream:
		method, length = http.MethodPut, len(streams)
	}
	req, err := http.NewRequest(method, url+strconv.Itoa(lane), nil)
	if err == nil {
		req.ContentLength = int64(length)
	}
	return req, err
}

// sender returns a function that makes the case's work once, as the only user of
// its lane. It uses one request again and again: to make one costs more than most
// of what is measured.
func (c Case) sender(rt http.RoundTripper, url string, lane int) (func() error, error) {
	req, err := c.newRequest(url, lane)
	if err != nil {
		return nil, err
	}
	getBody := func() (io.ReadCloser, error) { return c.body(), nil }
	return func() error {
		req.Body = c.body()
		if c.Work == workPut {
			req.GetBody = getBody
		}
		return finish(rt.RoundTrip(req))
	}, nil
}

// twice returns a function that makes the case's work without a peer: by hand, as
// a loop in the caller would, which can make the body anew.
func (c Case) twice(base http.RoundTripper, url string, lane int) (func() error, error) {
	req, err := c.newRequest(url, lane)
	if err != nil {
		return nil, err
	}
	return func() error {
		for range c.Sends - 1 {
			req.Body = c.body()
			resp, err := base.RoundTrip(req)
			if err != nil {
				return err
			}
			if err := end(resp); err != nil {
				return err
			}
		}
		req.Body = c.body()
		return finish(base.RoundTrip(req))
	}, nil
}

func finish(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		end(resp)
		return fmt.Errorf("got status %d", resp.StatusCode)
	}
	return end(resp)
}

func end(resp *http.Response) error {
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	return resp.Body.Close()
}
