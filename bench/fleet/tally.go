package fleet

import (
	"encoding"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Slot is the time over which sends are counted.
const Slot = 100 * time.Millisecond

// Count is what a server got in a slot, and how much of that it served.
type Count struct{ Sent, Served int }

// Slots are counts, slot by slot, from the first request on.
type Slots []Count

// Refused is how much of what was sent was not served.
func (s Slots) Refused() int {
	refused := 0
	for _, c := range s {
		refused += c.Sent - c.Served
	}
	return refused
}

// MarshalText writes s in one line, such as "12/10 8", where what was served is
// left out if it is all that was sent.
func (s Slots) MarshalText() ([]byte, error) {
	var b strings.Builder
	for i, c := range s {
		if i > 0 {
			b.WriteByte(' ')
		}
		if fmt.Fprintf(&b, "%d", c.Sent); c.Served != c.Sent {
			fmt.Fprintf(&b, "/%d", c.Served)
		}
	}
	return []byte(b.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (s *Slots) UnmarshalText(text []byte) error {
	*s = nil
	for field := range strings.FieldsSeq(string(text)) {
		var c Count
		n, err := fmt.Sscanf(field, "%d/%d", &c.Sent, &c.Served)
		if n == 0 {
			return fmt.Errorf("%q is no count: %w", field, err)
		}
		if n == 1 {
			c.Served = c.Sent
		}
		*s = append(*s, c)
	}
	return nil
}

var (
	_ encoding.TextMarshaler   = Slots{}
	_ encoding.TextUnmarshaler = (*Slots)(nil)
)

// Tally counts what reaches a server. It is an [http.Handler] around it, for real
// sockets and virtual time alike.
type Tally struct {
	Server http.Handler
	clock  clock
	mu     sync.Mutex
	slots  Slots
}

func (t *Tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := int(t.clock.since() / Slot)
	t.add(at, Count{Sent: 1})
	status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	t.Server.ServeHTTP(status, r)
	if status.status < 300 {
		t.add(at, Count{Served: 1})
	}
}

func (t *Tally) add(at int, c Count) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.slots) <= at {
		t.slots = append(t.slots, Count{})
	}
	t.slots[at].Sent += c.Sent
	t.slots[at].Served += c.Served
}

// Slots returns what has been counted until now. What was served is counted in the
// slot in which it was sent.
func (t *Tally) Slots() Slots {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append(Slots(nil), t.slots...)
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
