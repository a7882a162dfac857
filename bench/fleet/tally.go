package fleet

import (
	"net/http"
	"sync"
	"time"
)

// Slot is the time over which sends are counted.
const Slot = 100 * time.Millisecond

// Count is what a server got, and how it answered.
type Count struct{ Sent, Served int }

// tally counts what reaches a server.
type tally struct {
	server http.Handler
	start  time.Time
	mu     sync.Mutex
	slots  []Count
}

func (t *tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := int(max(time.Since(t.start), 0) / Slot)
	t.add(at, Count{Sent: 1})
	status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	t.server.ServeHTTP(status, r)
	if status.status < 300 {
		t.add(at, Count{Served: 1})
	}
}

func (t *tally) add(at int, c Count) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.slots) <= at {
		t.slots = append(t.slots, Count{})
	}
	t.slots[at].Sent += c.Sent
	t.slots[at].Served += c.Served
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
