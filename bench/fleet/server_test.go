package fleet

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func ask(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// served asks n times and returns how many requests were served.
func served(h http.Handler, n int) int {
	ok := 0
	for range n {
		if ask(h, "/").Code == http.StatusOK {
			ok++
		}
	}
	return ok
}

func TestPhased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // its time begins with its first request
		s := &Phased{Bad: Between(time.Second, 2*time.Second), Status: 429, Header: http.Header{"Retry-After": {"2"}}}
		var got []int
		for range 3 {
			got = append(got, ask(s, "/").Code)
			time.Sleep(time.Second)
		}
		if want := []int{200, 429, 200}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestEveryOther(t *testing.T) {
	bad := EveryOther(time.Second, 4*time.Second)
	var got []bool
	for at := time.Duration(0); at < 6*time.Second; at += time.Second {
		got = append(got, bad(at))
	}
	if want := []bool{false, true, false, true, false, false}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestIncidents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Incidents{All: []Incident{
			{time.Second, 2 * time.Second, &Random{Share: 1, Status: 503}},
			{time.Second, 3 * time.Second, &Random{Share: 1, Status: 429, Hint: 7}},
		}}
		var got []int
		for range 4 {
			got = append(got, ask(s, "/").Code)
			time.Sleep(time.Second)
		}
		if want := []int{200, 503, 429, 200}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestRandom(t *testing.T) {
	if n := served(&Random{Share: 0.5, Status: 503}, 1000); n < 400 || n > 600 {
		t.Errorf("served %d of 1000, want about half", n)
	}
	if got := ask(&Random{Share: 1, Status: 429, Hint: 7}, "/").Header().Get("Retry-After"); got != "7" {
		t.Errorf("got the hint %q, want 7", got)
	}
}

func TestPaths(t *testing.T) {
	s := Paths{"/a": &Random{Share: 1, Status: 500}}
	if got := []int{ask(s, "/a").Code, ask(s, "/b").Code}; !slices.Equal(got, []int{500, 200}) {
		t.Errorf("got %v", got)
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s := Slow{&Random{Share: 1, Status: 429}, time.Second}
		if got := ask(s, "/").Code; got != 429 || time.Since(begun) != time.Second {
			t.Errorf("got %d after %v", got, time.Since(begun))
		}
	})
}

func TestBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Bucket{Rate: 10, Burst: 5, Hint: 1}
		if n := served(s, 20); n != 5 {
			t.Errorf("at once %d, want the burst", n)
		}
		time.Sleep(300 * time.Millisecond)
		if n := served(s, 20); n != 3 {
			t.Errorf("after 0.3 s %d, want 3", n)
		}
		time.Sleep(time.Hour)
		if n := served(s, 20); n != 5 {
			t.Errorf("after an hour %d, want the burst", n)
		}
		if got := ask(s, "/").Header().Get("Retry-After"); got != "1" {
			t.Errorf("got the hint %q, want 1", got)
		}
	})
}

func TestQuota(t *testing.T) {
	for _, c := range []struct {
		floor            bool
		first, then, bad string // what is said at first, after 300 ms, and to the surplus
	}{
		{false, `"default";r=2;t=2`, `"default";r=1;t=2`, "2"},
		{true, `"default";r=2;t=2`, `"default";r=1;t=1`, "1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &Quota{Limit: 3, Window: 2 * time.Second, Floor: c.floor}
			if got := ask(s, "/").Header().Get("RateLimit"); got != c.first {
				t.Errorf("said %s, want %s", got, c.first)
			}
			time.Sleep(300 * time.Millisecond)
			if got := ask(s, "/").Header().Get("RateLimit"); got != c.then {
				t.Errorf("said %s, want %s", got, c.then)
			}
			if n := served(s, 9); n != 1 {
				t.Errorf("served %d more, want 1", n)
			}
			if w := ask(s, "/"); w.Code != 429 || w.Header().Get("Retry-After") != c.bad {
				t.Errorf("the surplus: got %d, %q", w.Code, w.Header().Get("Retry-After"))
			}
			time.Sleep(1700 * time.Millisecond)
			if n := served(s, 9); n != 3 {
				t.Errorf("in the next window %d, want 3", n)
			}
		})
	}
}

func TestQuotaThatIsNotEnforced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Quota{Limit: 3, Window: 2 * time.Second, Lax: true}
		if n := served(s, 9); n != 9 {
			t.Errorf("served %d, want all", n)
		}
		if got, want := ask(s, "/").Header().Get("RateLimit"), `"default";r=0;t=2`; got != want {
			t.Errorf("said %s, want %s", got, want)
		}
	})
}

func TestTwoLimiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &TwoLimiters{One: Quota{Limit: 9, Window: time.Second}, Other: Quota{Limit: 90, Window: time.Minute}}
		var got []string
		for range 3 {
			got = append(got, ask(s, "/").Header().Get("RateLimit"))
		}
		want := []string{`"default";r=8;t=1`, `"default";r=88;t=60`, `"default";r=6;t=1`}
		if !slices.Equal(got, want) {
			t.Errorf("said %q, want %q", got, want)
		}
	})
}

func TestAlwaysZero(t *testing.T) {
	w := ask(http.HandlerFunc(AlwaysZero), "/")
	if got := w.Header().Get("RateLimit"); w.Code != 200 || got != `"default";r=0;t=60` {
		t.Errorf("got %d, said %s", w.Code, got)
	}
}

// One worker, and room for two: of four at once one is refused, the others are
// served one after another, ten times slower in a time of trouble.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Queue{Workers: 1, Room: 2, Work: time.Second, Slower: 10, Bad: Between(time.Minute, time.Hour)}
		burst := func() (took []time.Duration) {
			begun, done := time.Now(), make(chan time.Duration)
			for range 4 {
				go func() {
					if ask(s, "/").Code == http.StatusOK {
						done <- time.Since(begun)
						return
					}
					done <- 0
				}()
			}
			for range 4 {
				took = append(took, <-done)
			}
			return took
		}
		for _, unit := range []time.Duration{time.Second, 10 * time.Second} {
			if got, want := burst(), []time.Duration{0, unit, 2 * unit, 3 * unit}; !slices.Equal(got, want) {
				t.Errorf("took %v, want %v", got, want)
			}
			time.Sleep(2 * time.Minute)
		}
	})
}

func TestChain_FirstHandlerRefuses_OthersAreNotAsked(t *testing.T) {
	behind := &Random{Share: 1, Status: 500}
	s := Chain{Paths{"/a": &Random{Share: 1, Status: 429}}, Of{func(r *http.Request) bool { return r.URL.Path != "/c" }, behind}}
	for path, want := range map[string]int{"/a": 429, "/b": 500, "/c": 200} {
		if got := ask(s, path).Code; got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}

// Two workers and no room: two requests are in flight at most, and a refusal that costs
// half a request's work makes a worker late.
func TestQueue_WithoutRoom_BoundsRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Queue{Workers: 2, Work: time.Second, Refusal: Refusal{429, 5}, Costly: 0.5}
		took := func() time.Duration {
			begun := time.Now()
			if w := ask(s, "/"); w.Code != http.StatusOK {
				if w.Code != 429 || w.Header().Get("Retry-After") != "5" {
					t.Errorf("got %d, %q", w.Code, w.Header().Get("Retry-After"))
				}
				return 0
			}
			return time.Since(begun)
		}
		go took()
		go took()
		synctest.Wait()
		if got := took(); got != 0 {
			t.Errorf("the third in flight took %v, want a refusal", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		go took() // of the worker that the refusal did not delay
		synctest.Wait()
		if got := took(); got != 1500*time.Millisecond {
			t.Errorf("took %v, want half a second more", got)
		}
	})
}

func TestHangAndDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ask(Hang{1, time.Minute}, "/")
		ask(Hang{0, time.Minute}, "/")
		ask(Delay{func() time.Duration { return time.Second }}, "/")
		if took := time.Since(begun); took != time.Minute+time.Second {
			t.Errorf("took %v", took)
		}
	})
}
