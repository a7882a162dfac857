package random

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// send asks a draw's server so often per second for so long, of all paths, credentials and
// replicas in turn, and returns how many answers of each part were good.
func send(d Draw, rate int, length time.Duration) (good map[Part]int) {
	good = make(map[Part]int)
	server := d.server()
	answers := make(chan map[Part]bool)
	n := int(length.Seconds() * float64(rate))
	for i := range n {
		time.Sleep(time.Second / time.Duration(rate))
		parts := []Part{{Paths, i % 2}, {Credentials, i / 2 % 2}, {Replicas, i / 4 % 2}}
		go func() {
			r := httptest.NewRequest(http.MethodGet, fleet.Path(parts[0].Index), nil)
			r.Header.Set("Authorization", fleet.Token(parts[1].Index))
			r.Header.Set(fleet.Address, strconv.Itoa(parts[2].Index))
			w := httptest.NewRecorder()
			begun := time.Now()
			server.ServeHTTP(w, r)
			ok := w.Code == http.StatusOK && time.Since(begun) < fleet.AttemptTimeout
			answers <- map[Part]bool{{}: ok, parts[0]: ok, parts[1]: ok, parts[2]: ok}
		}()
	}
	for range n {
		for part, ok := range <-answers {
			if ok {
				good[part]++
			}
		}
	}
	return good
}

func TestServer_Trouble_TakesWhatItsNumbersSay(t *testing.T) {
	second := time.Second
	for name, c := range map[string]struct {
		Trouble
		good int // of 1000 requests, 100 per second, of which 800 come in the time of trouble
		off  int // at most, by chance
	}{
		"outage":                 {Trouble{Kind: Outage}, 200, 2},
		"flapping":               {Trouble{Kind: Outage, Every: second}, 600, 4},
		"failing":                {Trouble{Kind: Failing, Share: 0.25}, 800, 60},
		"hanging":                {Trouble{Kind: Hanging, Share: 0.25}, 800, 60},
		"bucket":                 {Trouble{Kind: Bucket, Rate: 20, Burst: 40}, 200 + 40 + 160, 2},
		"quota":                  {Trouble{Kind: Quota, Limit: 50, Window: 2 * second}, 200 + 4*50, 2},
		"quota, not enforced":    {Trouble{Kind: Quota, Limit: 50, Window: 2 * second, Lax: true}, 1000, 0},
		"concurrency":            {Trouble{Kind: Concurrency, InFlight: 5, Work: 95 * time.Millisecond}, 200 + 400, 6},
		"slow":                   {Trouble{Kind: Slow, Factor: 8}, 200 + 8*20, 15},
		"outage of a path":       {Trouble{Kind: Outage, Part: Part{Paths, 1}}, 600, 2},
		"bucket of a credential": {Trouble{Kind: Bucket, Rate: 10, Burst: 5, Part: Part{Credentials, 1}}, 600 + 5 + 80, 3},
		"outage of a replica":    {Trouble{Kind: Outage, Part: Part{Replicas, 0}}, 600, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.From, c.To, c.Refusal.Status = second, 9*second, 503
				// 160 per second, and none in the queue for long.
				d := Draw{Host: Host{Workers: 16, Work: 100 * time.Millisecond}, Troubles: []Trouble{c.Trouble}}
				good := send(d, 100, 10*second)
				if n := good[Part{}]; n < c.good-c.off || n > c.good+c.off {
					t.Errorf("%d good answers, want %d ± %d", n, c.good, c.off)
				}
				if c.Part.Of != Everything {
					if other := (Part{c.Part.Of, 1 - c.Part.Index}); good[other] != 500 {
						t.Errorf("%d good answers of another part, want all 500", good[other])
					}
				}
			})
		})
	}
}

func TestServer_Outage_AsksForNoMoreTimeThanIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := Draw{Troubles: []Trouble{{Kind: Outage, To: 10 * time.Second, Refusal: fleet.Refusal{Status: 429, Hint: 5}}}}
		server := d.server()
		for _, want := range []string{"5", "5", "2"} {
			w := httptest.NewRecorder()
			server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/a", nil))
			if got := w.Header().Get("Retry-After"); w.Code != 429 || got != want {
				t.Errorf("got %d, Retry-After %s, want %s", w.Code, got, want)
			}
			time.Sleep(4100 * time.Millisecond)
		}
	})
}

func TestServer_Lossy_HalfOfAnswersOfOneReplicaAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := send(Draw{Lossy: 1}, 100, 10*time.Second)
		if n := good[Part{Replicas, 0}]; n < 200 || n > 300 || good[Part{Replicas, 1}] != 500 {
			t.Errorf("%d and %d good answers, want about 250, and 500", n, good[Part{Replicas, 1}])
		}
	})
}

func TestSampler_AnyShape_HasItsMean(t *testing.T) {
	for _, shape := range []Shape{Constant, Exponential, Bimodal} {
		l := Latency{Mean: 100 * time.Millisecond, Shape: shape}
		next, again := l.sampler(7), l.sampler(7)
		const n = 10000
		var sum time.Duration
		for range n {
			took := next()
			if took != again() {
				t.Fatalf("%v: the same seed, other latencies", shape)
			}
			if took < l.least() {
				t.Errorf("%v: %v is less than the least, %v", shape, took, l.least())
			}
			sum += took
		}
		if mean := sum / n; mean < 95*time.Millisecond || mean > 105*time.Millisecond {
			t.Errorf("%v: a mean of %v", shape, mean)
		}
	}
}

func TestAsks_Draws_AreOfItsFleet(t *testing.T) {
	for seed := range uint64(50) {
		d := New(seed)
		asks := d.Asks()
		if n := len(asks); n < 400 || n > 6000 {
			t.Errorf("seed %d: %d requests: %v", seed, n, d)
		}
		for i, a := range asks {
			if a.Replica >= d.Work.Replicas || a.Patience < d.Impatient || a.Patience > d.Work.Timeout || a.At >= d.Work.Sending || i > 0 && a.At < asks[i-1].At {
				t.Fatalf("seed %d: %+v is no request of %v", seed, a, d)
			}
		}
	}
}
