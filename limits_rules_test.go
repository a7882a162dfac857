package holdoff_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// answering is a function as a Base.
type answering func(*http.Request) *http.Response

func (f answering) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := f(req)
	resp.Request = req
	return resp, nil
}

func says(status int, body string, headers ...string) *http.Response {
	h := http.Header{}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		h.Set(name, value)
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// ask sends a GET, and returns the error or the status.
func ask(ctx context.Context, rt http.RoundTripper, path string) (int, error) {
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example"+path, nil)
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, nil
}

func askUntilRead(t *testing.T, rt http.RoundTripper, path string) {
	t.Helper()
	for range 1000 { // not every answer is looked at
		if _, err := ask(t.Context(), rt, path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLimits_UsedUpForOneRoute_OthersAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &holdoff.Transport{Base: answering(func(req *http.Request) *http.Response {
			if strings.HasSuffix(req.URL.Path, "chat") {
				return says(429, "", "X-Ratelimit-Limit-Tokens: 60000", "X-Ratelimit-Remaining-Tokens: 0", "X-Ratelimit-Reset-Tokens: 60s")
			}
			return says(200, "", "X-Ratelimit-Limit-Requests: 100", "X-Ratelimit-Remaining-Requests: 99", "X-Ratelimit-Reset-Requests: 1s")
		})}
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		ctx := holdoff.WithCost(short, holdoff.Cost{"tokens": 30000})
		ask(ctx, tr, "/v1/chat") // its answer says what is left
		begun := time.Now()
		_, err := ask(ctx, tr, "/v1/chat")
		held, ok := errors.AsType[*holdoff.HeldError](err)
		if !ok || held.Limit != "tokens" || !held.Timeout() || time.Since(begun) > 0 {
			t.Errorf("got %v after %v, want a *HeldError for tokens at once", err, time.Since(begun))
		}
		begun = time.Now()
		for range 20 {
			if status, err := ask(t.Context(), tr, "/v1/embeddings"); status != 200 || err != nil {
				t.Fatalf("embeddings: %d, %v", status, err)
			}
		}
		if time.Since(begun) > 0 {
			t.Errorf("embeddings waited %v", time.Since(begun))
		}
	})
}

func TestLimits_OfTheUser_BoundTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sent []time.Time
		tr := &holdoff.Transport{
			Limits: []holdoff.Limit{{Name: "requests", Max: 50, Per: time.Second}},
			Base: answering(func(*http.Request) *http.Response {
				mu.Lock()
				defer mu.Unlock()
				sent = append(sent, time.Now())
				return says(200, "")
			}),
		}
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() {
				if _, err := ask(t.Context(), tr, "/"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		slices.SortFunc(sent, time.Time.Compare)
		for i := range sent {
			if j := i + 55; j < len(sent) && sent[j].Sub(sent[i]) < time.Second {
				t.Fatalf("56 within %v", sent[j].Sub(sent[i]))
			}
		}
		if took := sent[len(sent)-1].Sub(sent[0]); took > 10300*time.Millisecond {
			t.Errorf("500 took %v, want 97 %% of 50 per second", took)
		}
	})
}

func TestLimits_InFlight_BoundsResponsesThatAreNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		tr := &holdoff.Transport{
			Limits: []holdoff.Limit{{Name: "in flight", Max: 3}},
			Base: answering(func(*http.Request) *http.Response {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Second)
				return says(200, "body")
			}),
		}
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example/", nil)
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Second) // it streams
				mu.Lock()
				now--
				mu.Unlock()
				resp.Body.Close()
			})
		}
		begun := time.Now()
		all.Wait()
		if most != 3 || time.Since(begun) != 8*time.Second {
			t.Errorf("%d at once, in %v; want 3, in 8s", most, time.Since(begun))
		}
	})
}

func TestLimits_OfPriorities_TheHigherGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		tr := &holdoff.Transport{
			MaxWait: 10 * time.Minute,
			Limits:  []holdoff.Limit{{Name: "requests", Max: 1, Per: time.Second}},
			Base: answering(func(req *http.Request) *http.Response {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, req.URL.Path)
				return says(200, "")
			}),
		}
		var all sync.WaitGroup
		send := func(path string, priority int) {
			all.Go(func() {
				if _, err := ask(holdoff.WithPriority(t.Context(), priority), tr, path); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(time.Microsecond)
		}
		for range 20 {
			send("/batch", 0)
		}
		for range 18 {
			send("/interactive", 1)
		}
		all.Wait()
		batch := 0
		for _, path := range order[1:21] {
			if path == "/batch" {
				batch++
			}
		}
		if batch != 2 {
			t.Errorf("%d of 20 were batch while interactive requests waited, want 2: a tenth: %v", batch, order)
		}
	})
}

func TestLimits_LargeRequest_IsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		sent := map[string]time.Duration{}
		begun := time.Now()
		tr := &holdoff.Transport{
			Limits: []holdoff.Limit{{Name: "tokens", Max: 1000, Per: time.Second}},
			Base: answering(func(req *http.Request) *http.Response {
				mu.Lock()
				defer mu.Unlock()
				sent[req.URL.Path] = time.Since(begun)
				return says(200, "")
			}),
		}
		var all sync.WaitGroup
		send := func(path string, tokens float64) {
			all.Go(func() { ask(holdoff.WithCost(t.Context(), holdoff.Cost{"tokens": tokens}), tr, path) })
			time.Sleep(time.Microsecond)
		}
		send("/first", 100)
		send("/large", 30000)
		for range 5 {
			send("/small", 10)
			time.Sleep(10 * time.Millisecond)
		}
		all.Wait()
		if sent["/large"] > 200*time.Millisecond || sent["/small"] < 29*time.Second {
			t.Errorf("sent at %v; want the large one as soon as the bucket is full, and the small ones when it is paid", sent)
		}
	})
}

// A counter that is announced and not enforced holds one request, once.
func TestLimits_NotEnforced_AreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &holdoff.Transport{Base: answering(func(*http.Request) *http.Response {
			return says(200, "", "X-Ratelimit-Limit-Requests: 100", "X-Ratelimit-Remaining-Requests: 0", "X-Ratelimit-Reset-Requests: 60s")
		})}
		begun := time.Now()
		askUntilRead(t, tr, "/")
		if waited := time.Since(begun); waited > time.Second {
			t.Errorf("1000 requests waited %v", waited)
		}
	})
}

func TestCharge_OfAStream_CorrectsWhatIsAssumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		tr := &holdoff.Transport{
			Limits: []holdoff.Limit{{Name: "tokens", Max: 60000, Per: time.Minute}},
			Base:   answering(func(*http.Request) *http.Response { n++; return says(200, "") }),
		}
		for range 5 {
			ctx := holdoff.WithCost(t.Context(), nil)
			if _, err := ask(ctx, tr, "/"); err != nil {
				t.Fatal(err)
			}
			holdoff.Charge(ctx, holdoff.Cost{"tokens": 3000})
		}
		begun := time.Now()
		ask(t.Context(), tr, "/")
		if waited := time.Since(begun); waited < 2*time.Second || waited > 4*time.Second {
			t.Errorf("a request of an unknown cost waited %v, want about 3s: 3000 tokens, as those before it", waited)
		}
		holdoff.Charge(t.Context(), holdoff.Cost{"tokens": 1}) // without WithCost, it does nothing
	})
}

func TestTransport_InvalidLimits_AreRefused(t *testing.T) {
	for _, l := range []holdoff.Limit{{Max: 1, Per: 1}, {Name: "requests", Per: 1}, {Name: "requests", Max: 1}, {Name: "in flight", Max: 1, Per: 1}, {Name: "requests", Max: 1, Per: -1}} {
		tr := &holdoff.Transport{Limits: []holdoff.Limit{l}}
		if _, err := ask(t.Context(), tr, "/"); err == nil || !strings.Contains(err.Error(), "Transport.Limits[0]") {
			t.Errorf("%+v: got %v", l, err)
		}
	}
}

// The numbers of one route say nothing of a route whose answers have none.
func TestQuota_OfAnotherRoute_IsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 4
		tr := &holdoff.Transport{Base: answering(func(req *http.Request) *http.Response {
			time.Sleep(100 * time.Millisecond)
			if req.URL.Path == "/counted" {
				left = max(left-1, 0)
				return says(200, "", "Ratelimit-Remaining: "+strconv.Itoa(left), "Ratelimit-Reset: 259")
			}
			return says(200, "")
		})}
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			ask(ctx, tr, "/counted")
			cancel()
		}
		begun := time.Now()
		for range 50 {
			if _, err := ask(t.Context(), tr, "/other"); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(begun); waited != 5*time.Second {
			t.Errorf("50 requests to the other route took %v, want 5s", waited)
		}
	})
}

func TestKeys_OfLimits_SayWhatRemains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &holdoff.Transport{
			Limits: []holdoff.Limit{{Name: "requests", Max: 50, Per: time.Second}},
			Base: answering(func(*http.Request) *http.Response {
				return says(200, "", "X-Ratelimit-Limit-Tokens: 10000", "X-Ratelimit-Remaining-Tokens: 4000", "X-Ratelimit-Reset-Tokens: 3s")
			}),
		}
		if _, err := ask(t.Context(), tr, "/v1/chat"); err != nil {
			t.Fatal(err)
		}
		var all []string
		for k := range tr.Keys() {
			all = append(all, k.String())
		}
		slices.Sort(all)
		want := []string{"/v1/chat of https://api.example is healthy; 4000 of 10000 tokens left", "https://api.example is healthy; 4 of 50 requests left"}
		if !slices.Equal(all, want) {
			t.Errorf("got %q, want %q", all, want)
		}
	})
}
