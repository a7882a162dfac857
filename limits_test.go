package holdoff_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

// llm is a server that counts tokens, and says so as OpenAI does.
type llm struct {
	mu              sync.Mutex
	max, rate       float64       // of the bucket of tokens
	window          time.Duration // it is a window instead, of that length
	latency         time.Duration
	unenforced      bool
	level           float64
	at              time.Time
	served, refused int
	used            float64
	waits           []time.Duration
}

func (s *llm) RoundTrip(req *http.Request) (*http.Response, error) {
	var cost float64
	fmt.Sscan(req.Header.Get("Cost"), &cost)
	time.Sleep(s.latency / 2)
	status, left, reset := s.take(cost)
	time.Sleep(s.latency / 2)
	h := http.Header{
		"X-Ratelimit-Limit-Tokens":     {fmt.Sprint(s.max)},
		"X-Ratelimit-Remaining-Tokens": {fmt.Sprint(math.Floor(left))},
		"X-Ratelimit-Reset-Tokens":     {reset.Round(time.Millisecond).String()},
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("{}")), Request: req}, nil
}

func (s *llm) take(cost float64) (status int, left float64, reset time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.at.IsZero() {
		s.level, s.at = s.max, now
	}
	if s.window > 0 {
		if now.Truncate(s.window).After(s.at.Truncate(s.window)) {
			s.level = s.max
		}
		reset = now.Truncate(s.window).Add(s.window).Sub(now)
	} else {
		s.level = min(s.level+s.rate*now.Sub(s.at).Seconds(), s.max)
	}
	s.at = now
	if cost > s.level && !s.unenforced {
		s.refused++
		status = http.StatusTooManyRequests
	} else {
		s.served++
		s.used += cost
		s.level = max(s.level-cost, 0)
		status = http.StatusOK
	}
	if s.window == 0 {
		reset = time.Duration((s.max - s.level) / s.rate * float64(time.Second))
	}
	return status, s.level, reset
}

// askLLM runs callers against a server through so many Transports, each of which asks for
// 500 to 4000 tokens at a time, and returns how many calls failed.
func askLLM(s *llm, replicas []*holdoff.Transport, callers int, d time.Duration, cost func(float64) holdoff.Cost) (failed int) {
	ctx, cancel := context.WithCancel(context.Background()) // a deadline would fail calls at once
	defer time.AfterFunc(d, cancel).Stop()
	var all sync.WaitGroup
	var mu sync.Mutex
	for i := range callers {
		all.Go(func() {
			client := &http.Client{Transport: replicas[i%len(replicas)]}
			random := rand.New(rand.NewPCG(uint64(i), 17))
			for ctx.Err() == nil {
				tokens := float64(500 + random.IntN(3501))
				call := ctx
				if cost != nil {
					call = holdoff.WithCost(ctx, cost(tokens))
				}
				req, _ := http.NewRequestWithContext(holdoff.WithIdempotent(call), http.MethodPost, "https://llm.example/v1/chat", strings.NewReader("{}"))
				req.Header.Set("Cost", fmt.Sprint(tokens))
				begun := time.Now()
				resp, err := client.Do(req)
				ok := err == nil && resp.StatusCode == http.StatusOK
				if err == nil {
					resp.Body.Close()
				}
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				if !ok {
					failed++
				}
				s.waits = append(s.waits, time.Since(begun))
				mu.Unlock()
				if !ok {
					time.Sleep(250 * time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	time.Sleep(time.Second) // what was granted and not used is given back
	return failed
}

func exact(tokens float64) holdoff.Cost { return holdoff.Cost{"tokens": tokens} }

func about(tokens float64) holdoff.Cost {
	return holdoff.Cost{"tokens": tokens * (0.7 + 0.6*rand.Float64())}
}

// An llmRun is what came of a run of askLLM.
type llmRun struct {
	served, failed int
	refused        float64 // per served
	used           float64 // share of what the server had to give
}

func outcomeOf(s *llm, failed int, d time.Duration) llmRun {
	all := s.rate * d.Seconds()
	if s.window > 0 {
		all = s.max * d.Minutes()
	}
	return llmRun{s.served, failed, float64(s.refused) / float64(s.served), s.used / all}
}

// wantLLM checks the medians of runs.
func wantLLM(t *testing.T, runs []llmRun, refused, share float64) {
	t.Helper()
	got := median(runs, func(r llmRun) float64 { return r.refused })
	used := median(runs, func(r llmRun) float64 { return r.used })
	failed := median(runs, func(r llmRun) float64 { return float64(r.failed) / float64(r.served) })
	if got > refused || used < share || failed > 0.1 {
		t.Errorf("%.2f refused per served, %.2f failed, %.2f used; want %.2f and 0.1 at most, and %.2f; all runs: %+v", got, failed, used, refused, share, runs)
	}
}

// A server's tokens are used up, its refusals are few, and no call that can wait fails,
// whatever is known of the costs.
func TestLimits_OfAnLLM_AreUsedUpAndSeldomRefused(t *testing.T) {
	const d = 5 * time.Minute
	for _, tt := range []struct {
		name           string
		server         *llm
		replicas       int
		cost           func(float64) holdoff.Cost
		refused, share float64 // refused per served at most; least share of the tokens
	}{
		{"a bucket, known costs", &llm{max: 10000, rate: 2000}, 1, exact, 0.2, 0.9},
		{"a bucket, costs with an error", &llm{max: 10000, rate: 2000}, 1, about, 0.2, 0.9},
		{"a bucket, unknown costs", &llm{max: 10000, rate: 2000}, 1, nil, 0.4, 0.85},
		{"a bucket, two replicas without a store", &llm{max: 10000, rate: 2000}, 2, exact, 0.6, 0.9},
		{"a large bucket, two replicas without a store", &llm{max: 150000, rate: 2500}, 2, about, 0.2, 0.9},
		{"a minute's window", &llm{max: 120000, window: time.Minute}, 1, exact, 0.3, 0.9},
		{"a minute's window, unknown costs", &llm{max: 120000, window: time.Minute}, 1, nil, 0.2, 0.85},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runs := fiveTimes(t, func(*testing.T) llmRun {
				s := llm{max: tt.server.max, rate: tt.server.rate, window: tt.server.window, latency: 100 * time.Millisecond}
				var fleet []*holdoff.Transport
				for range tt.replicas {
					fleet = append(fleet, &holdoff.Transport{Base: &s})
				}
				return outcomeOf(&s, askLLM(&s, fleet, 12, d, tt.cost), d)
			})
			wantLLM(t, runs, tt.refused, tt.share)
		})
	}
}
