package fleet

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

type handled struct{ http.Handler }

func (h handled) RoundTrip(req *http.Request) (*http.Response, error) {
	w := ask(h.Handler, req.URL.Path)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func TestRun(t *testing.T) {
	work := Work{Replicas: 4, Rate: 5, Sending: 10 * time.Second, Timeout: time.Second, Paths: 20}
	asked := func(work Work, seed uint64) (at []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			client := &http.Client{Transport: handled{&Random{Share: 1, Status: 500}}}
			for _, a := range work.Run(t.Context(), "http://api.example", func(int) *http.Client { return client }, work.Asks(seed)) {
				if a.Served {
					t.Error("a 500 is no service")
				}
				at = append(at, a.Asked)
			}
		})
		slices.Sort(at)
		return at
	}
	first := asked(work, 1)
	if len(first) != 200 || first[199] >= work.Sending {
		t.Errorf("got %d requests until %v, want 200 in %v", len(first), first[len(first)-1], work.Sending)
	}
	if !slices.Equal(first, asked(work, 1)) {
		t.Error("the same seed, other requests")
	}
	if slices.Equal(first, asked(work, 2)) {
		t.Error("another seed, the same requests")
	}
	if n := len(asked(work.Among(500), 1)); n < 150 || n > 250 {
		t.Errorf("%d requests among many replicas, want about 200", n)
	}
}

func TestAsks_Step_AsksMoreOftenInIt(t *testing.T) {
	work := Work{Replicas: 4, Rate: 10, Sending: 10 * time.Second, Step: Step{2 * time.Second, 4 * time.Second, 3}}
	in, out := 0, 0
	for _, a := range work.Asks(1) {
		if 2*time.Second <= a.At && a.At < 4*time.Second {
			in++
		} else {
			out++
		}
	}
	if in < 230 || in > 250 || out < 310 || out > 330 {
		t.Errorf("%d requests in the step and %d out of it, want about 240 and 320", in, out)
	}
}
