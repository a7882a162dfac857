package main

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// model plays an LLM API. It has a bucket of tokens, and answers as OpenAI does: 429 where
// a request costs more than is left, and what is left in each answer.
type model struct {
	size, rate float64 // of the bucket, and its refill per second

	mu              sync.Mutex
	level           float64
	at              time.Time
	used            float64
	served, refused int
}

func newModel(size, rate float64) *model {
	return &model{size: size, rate: rate, level: size, at: time.Now()}
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	cost, err := strconv.ParseFloat(r.Header.Get("X-Tokens"), 64)
	if err != nil {
		http.Error(w, "X-Tokens must be a number", http.StatusBadRequest)
		return
	}
	ok, left := m.take(cost)
	full := time.Duration((m.size - left) / m.rate * float64(time.Second)).Round(time.Millisecond)
	w.Header().Set("X-Ratelimit-Limit-Tokens", fmt.Sprint(m.size))
	w.Header().Set("X-Ratelimit-Remaining-Tokens", fmt.Sprint(math.Floor(left)))
	w.Header().Set("X-Ratelimit-Reset-Tokens", full.String())
	if !ok {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	time.Sleep(50 * time.Millisecond) // it thinks
	fmt.Fprintf(w, `{"usage":{"total_tokens":%.0f}}`, cost)
}

func (m *model) take(cost float64) (ok bool, left float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.level, m.at = min(m.level+m.rate*now.Sub(m.at).Seconds(), m.size), now
	if cost > m.level {
		m.refused++
		return false, m.level
	}
	m.level -= cost
	m.used += cost
	m.served++
	return true, m.level
}
