package retryapi

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
)

// MemoryLot is a [Lot] of this process. Credentials stay in it with their
// requests.
type MemoryLot struct {
	bounds Bounds

	mu      sync.Mutex // guards what follows
	parked  map[string]*space
	order   []string // ids, the oldest first; some may be gone
	bytes   int64
	evicted int
}

// space is one place of a MemoryLot.
type space struct {
	record record
	parked time.Time
	next   int
	status int
	err    string
	token  string    // of who has claimed the next attempt
	until  time.Time // when the claim lapses
}

// NewMemoryLot returns a lot with those bounds.
func NewMemoryLot(b Bounds) (*MemoryLot, error) {
	b, err := b.withDefaults()
	if err != nil {
		return nil, err
	}
	return &MemoryLot{bounds: b, parked: make(map[string]*space)}, nil
}

// Park implements [holdoff.Lot].
func (l *MemoryLot) Park(_ context.Context, p holdoff.Parked) (string, error) {
	r, err := recordOf(p, l.bounds.Body)
	if err != nil {
		return "", err
	}
	s := &space{record: r, parked: time.Now(), next: p.Attempts, status: p.Status}
	if p.Err != nil {
		s.err = p.Err.Error()
	}
	id := newID()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	for len(l.parked) > 0 && (len(l.parked) >= l.bounds.Requests || l.bytes+int64(len(r.body)) > l.bounds.Bytes) {
		id := l.order[0]
		l.order = l.order[1:]
		if l.parked[id] != nil {
			l.remove(id)
			l.evicted++
		}
	}
	l.parked[id] = s
	l.order = append(l.order, id)
	l.bytes += int64(len(r.body))
	return id, nil
}

// Evicted returns how many requests had to make room for others.
func (l *MemoryLot) Evicted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.evicted
}

// expire drops what is too old, and the ids of what is gone, from the front of
// the order. The caller holds mu.
func (l *MemoryLot) expire() {
	for len(l.order) > 0 {
		s := l.parked[l.order[0]]
		if s != nil && time.Since(s.parked) < l.bounds.Age {
			return
		}
		id := l.order[0]
		l.order = l.order[1:]
		l.remove(id)
	}
}

func (l *MemoryLot) remove(id string) {
	if s := l.parked[id]; s != nil {
		l.bytes -= int64(len(s.record.body))
		delete(l.parked, id)
	}
	if len(l.order) > 2*len(l.parked)+16 {
		l.order = slices.DeleteFunc(l.order, func(id string) bool { return l.parked[id] == nil })
	}
}

// Claim implements [Lot].
func (l *MemoryLot) Claim(_ context.Context, id string, attempt int, lease time.Duration) (*Claim, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	s := l.parked[id]
	if s == nil {
		return nil, ErrUnknown
	}
	now := time.Now()
	if busy := now.Before(s.until); busy || s.next != attempt {
		return nil, &ConflictError{Next: s.next, InFlight: busy}
	}
	c, err := s.record.claim(id, attempt, newID())
	if err != nil {
		return nil, err
	}
	s.token, s.until = c.token, now.Add(lease)
	return c, nil
}

// held returns the space of c, if the claim is still good. The caller holds mu.
func (l *MemoryLot) held(c *Claim) (*space, error) {
	s := l.parked[c.ID]
	if s == nil {
		return nil, ErrUnknown
	}
	if s.token != c.token {
		return nil, &ConflictError{Next: s.next, InFlight: time.Now().Before(s.until)}
	}
	return s, nil
}

// Begin implements [Lot].
func (l *MemoryLot) Begin(_ context.Context, c *Claim) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.held(c)
	if err != nil {
		return err
	}
	s.next = c.Attempt + 1
	return nil
}

// Settle implements [Lot].
func (l *MemoryLot) Settle(_ context.Context, c *Claim, r Result) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.held(c)
	if err != nil {
		return err
	}
	if r.Good {
		l.remove(c.ID)
		return nil
	}
	s.token, s.until = "", time.Time{}
	if r.Sent {
		s.next, s.status, s.err = c.Attempt+1, r.Status, r.Err
	} else {
		s.next = c.Attempt
	}
	return nil
}

// List implements [Lot].
func (l *MemoryLot) List(_ context.Context, limit int) ([]Summary, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	now := time.Now()
	list := make([]Summary, 0, len(l.parked))
	for id, s := range l.parked {
		sum := s.record.summary(id)
		sum.Attempt, sum.Status, sum.Error, sum.Parked, sum.InFlight = s.next, s.status, s.err, s.parked, now.Before(s.until)
		list = append(list, sum)
	}
	slices.SortFunc(list, func(a, b Summary) int {
		return cmp.Or(b.Parked.Compare(a.Parked), cmp.Compare(a.ID, b.ID))
	})
	return list[:min(limit, len(list))], len(list), nil
}
