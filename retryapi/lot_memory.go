package retryapi

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"
)

// MemoryLot is a [Lot] of this process. Credentials stay in it with their
// requests.
type MemoryLot struct {
	bounds Bounds

	// order has all spaces, the oldest first; some may be gone. List reads it
	// without the lock: an element is never overwritten.
	order atomic.Pointer[[]*space]

	mu      sync.Mutex // guards what follows, and all changes
	parked  map[string]*space
	bytes   int64
	evicted int
}

// space is one place of a MemoryLot.
type space struct {
	summary Summary // as parked
	size    int64   // of Bounds.Bytes
	record  *record // nil once it is gone; guarded by the lot's mu
	now     atomic.Pointer[standing]
}

// standing is how a parked request stands at present. It is replaced, never
// changed.
type standing struct {
	next   int
	status int
	err    string
	token  string    // of the caller who has claimed the next attempt
	until  time.Time // when the claim ends
	gone   bool
}

func (s *space) claimed(now time.Time) bool { return now.Before(s.now.Load().until) }

// NewMemoryLot returns a lot with those bounds.
func NewMemoryLot(b Bounds) (*MemoryLot, error) {
	b, err := b.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &MemoryLot{bounds: b, parked: make(map[string]*space)}
	l.order.Store(new([]*space))
	return l, nil
}

var errFull = errors.New("retryapi: not parked: there is no room besides the requests that are being replayed")

// Park implements [holdoff.Lot].
func (l *MemoryLot) Park(_ context.Context, p holdoff.Parked) (string, error) {
	r, size, err := recordOf(p, l.bounds)
	if err != nil {
		return "", err
	}
	id := newID()
	s := &space{summary: summaryOf(id, p, r), size: size, record: r}
	s.now.Store(&standing{next: p.Attempts, status: p.Status, err: s.summary.Error})

	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.expire(now)
	if !l.makeRoom(size, now) {
		return "", errFull
	}
	s.summary.Parked = now
	l.parked[id] = s
	l.bytes += size
	order := append(*l.order.Load(), s)
	l.order.Store(&order)
	return id, nil
}

// Evicted returns how many requests had to make room for others.
func (l *MemoryLot) Evicted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.evicted
}

// expire drops what is too old, except what is claimed. The caller holds mu.
func (l *MemoryLot) expire(now time.Time) {
	var old []*space
	for _, s := range *l.order.Load() {
		if !l.tooOld(s, now) {
			break
		}
		if s.record != nil && !s.claimed(now) {
			old = append(old, s)
		}
	}
	l.remove(old...)
}

// makeRoom drops the oldest, except what is claimed, until size more bytes fit.
// If they can't fit, it drops nothing. The caller holds mu.
func (l *MemoryLot) makeRoom(size int64, now time.Time) bool {
	var victims []*space
	count, bytes := len(l.parked), l.bytes
	fits := func() bool { return count < l.bounds.Requests && bytes+size <= l.bounds.Bytes }
	for _, s := range *l.order.Load() {
		if fits() {
			break
		}
		if s.record != nil && !s.claimed(now) {
			victims = append(victims, s)
			count--
			bytes -= s.size
		}
	}
	if !fits() {
		return false
	}
	l.evicted += len(victims)
	l.remove(victims...)
	return true
}

func (l *MemoryLot) tooOld(s *space, now time.Time) bool {
	return now.Sub(s.summary.Parked) >= l.bounds.Age
}

// remove drops spaces. The caller holds mu.
func (l *MemoryLot) remove(spaces ...*space) {
	for _, s := range spaces {
		l.bytes -= s.size
		delete(l.parked, s.summary.ID)
		s.record = nil
		s.now.Store(&standing{gone: true})
	}
	order := *l.order.Load()
	for len(order) > 0 && order[0].record == nil {
		order = order[1:]
	}
	if len(order) > 2*len(l.parked)+16 {
		order = slices.DeleteFunc(slices.Clone(order), func(s *space) bool { return s.record == nil })
	}
	l.order.Store(&order)
}

// Claim implements [Lot].
func (l *MemoryLot) Claim(_ context.Context, id string, attempt int, lease time.Duration) (*Claim, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.expire(now)
	s := l.parked[id]
	if s == nil {
		return nil, ErrUnknown
	}
	state := *s.now.Load()
	if busy := s.claimed(now); busy || state.next != attempt {
		return nil, &ConflictError{Next: state.next, InFlight: busy}
	}
	c, err := s.record.claim(id, attempt, newID())
	if err != nil {
		return nil, err
	}
	state.token, state.until = c.token, now.Add(lease)
	s.now.Store(&state)
	return c, nil
}

// change changes the standing of c's request, if c still has the claim.
func (l *MemoryLot) change(c *Claim, how func(s *space, state *standing)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.parked[c.ID]
	if s == nil {
		return ErrUnknown
	}
	state := *s.now.Load()
	if state.token != c.token {
		return &ConflictError{Next: state.next, InFlight: s.claimed(time.Now())}
	}
	how(s, &state)
	if s.record != nil {
		s.now.Store(&state)
	}
	return nil
}

// Begin implements [Lot].
func (l *MemoryLot) Begin(_ context.Context, c *Claim, lease time.Duration) error {
	return l.change(c, func(_ *space, state *standing) {
		state.next, state.until = c.Attempt+1, time.Now().Add(lease)
	})
}

// Settle implements [Lot].
func (l *MemoryLot) Settle(_ context.Context, c *Claim, r Result) error {
	return l.change(c, func(s *space, state *standing) {
		if r.Good {
			l.remove(s)
			return
		}
		state.token, state.until, state.next = "", time.Time{}, c.Attempt
		if r.Sent {
			state.next, state.status, state.err = c.Attempt+1, r.Status, cut(r.Err)
		}
	})
}

// List implements [Lot]. It takes no lock.
func (l *MemoryLot) List(_ context.Context, limit int) ([]Summary, int, error) {
	now := time.Now()
	list, total := []Summary{}, 0
	for _, s := range slices.Backward(*l.order.Load()) {
		state := s.now.Load()
		if state.gone || l.tooOld(s, now) {
			continue
		}
		if total++; total > limit {
			continue
		}
		one := s.summary
		one.Attempt, one.Status, one.Error, one.InFlight = state.next, state.status, state.err, now.Before(state.until)
		list = append(list, one)
	}
	return list, total, nil
}
