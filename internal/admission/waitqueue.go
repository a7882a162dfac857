package admission

import (
	"cmp"
	"container/heap"
	"container/list"
	"math"
	"slices"
	"time"
)

// keepGone is how many waiters the heap of a queue holds at most for each that still
// waits, when another joins.
const keepGone = 4

// probeLooks bounds the waiters among which a probe is picked.
const probeLooks = 64

// queue is the line of the requests that wait at a gate. It finds the oldest, the
// best prober, the least and the most patient of them without a walk along the line. The
// zero value is empty.
type queue struct {
	first   list.List     // of *waiter, the oldest first: requests that have not failed yet
	retries list.List     // likewise: requests that have failed before
	ends    byEnd         // both, and some that have left, for other queues also: the least patient first
	latest  byEnd         // likewise: the most patient first
	seconds map[int64]int // how many are patient until within that second
}

func (q *queue) Len() int { return q.first.Len() + q.retries.Len() }

func (q *queue) push(w *Waiter) {
	w.place, w.in = q.half(w).PushBack(w), q
	q.latest.last = true
	for _, h := range []*byEnd{&q.ends, &q.latest} {
		heap.Push(h, w)
		if h.Len() > keepGone*q.Len() {
			h.compact(q)
		}
	}
	if q.seconds == nil {
		q.seconds = make(map[int64]int)
	}
	q.seconds[w.Latest.Unix()]++
}

func (q *queue) remove(w *Waiter) {
	q.half(w).Remove(w.place)
	w.place, w.in = nil, nil
	end := w.Latest.Unix()
	if q.seconds[end]--; q.seconds[end] == 0 {
		delete(q.seconds, end)
	}
	if q.Len() == 0 {
		q.ends, q.latest, q.seconds = byEnd{}, byEnd{}, nil
	}
}

// drain takes all out of the queue, the oldest first.
func (q *queue) drain() (all []*Waiter) {
	for q.Len() > 0 {
		w := q.oldest()
		q.remove(w)
		all = append(all, w)
	}
	return all
}

func (q *queue) half(w *Waiter) *list.List {
	if w.Retry {
		return &q.retries
	}
	return &q.first
}

// oldest returns the request that has waited longest in the queue: of the two that head
// its halves, the one that arrived first.
func (q *queue) oldest() *Waiter {
	first, retry := front(&q.first), front(&q.retries)
	if first == nil || (retry != nil && retry.number < first.number) {
		return retry
	}
	return first
}

// pickProbe returns the waiter whose result says most about the host: the oldest that has
// not failed yet. Requests that fail by themselves, on a broken path, stand in line
// again and again, and as probes they would hold the key for ever.
// Of the oldest ones, it is one that suspicion says least against.
func (q *queue) pickProbe(suspicion func(*Waiter) int) *Waiter {
	best, least := cmp.Or(front(&q.first), front(&q.retries)), math.MaxInt
	n := 0
	for e := q.first.Front(); e != nil && n < probeLooks; e = e.Next() {
		w := e.Value.(*Waiter)
		if s := suspicion(w); s < least {
			best, least = w, s
		}
		n++
	}
	return best
}

// soonest returns the waiter whose patience ends first, or nil if there is none.
func (q *queue) soonest() *Waiter { return q.ends.top(q) }

// mostPatient returns the waiter whose patience ends last, or nil if there is none.
func (q *queue) mostPatient() *Waiter { return q.latest.top(q) }

// before returns how many requests have less patience than one that will wait until
// then, by a second or more: those of the same second are not counted.
func (q *queue) before(then time.Time) (n int) {
	end := then.Unix()
	for second, waiting := range q.seconds {
		if second < end {
			n += waiting
		}
	}
	return n
}

func front(l *list.List) *Waiter {
	if e := l.Front(); e != nil {
		return e.Value.(*Waiter)
	}
	return nil
}

// byEnd is a heap of waiters by the end of their patience: the first end first, or the
// last. Waiters that have left stay until they come up.
type byEnd struct {
	heap []*Waiter
	last bool
}

// top returns the first that still waits in q, or nil if there is none.
func (h *byEnd) top(q *queue) *Waiter {
	for h.Len() > 0 && h.heap[0].in != q {
		heap.Pop(h)
	}
	if h.Len() == 0 {
		return nil
	}
	return h.heap[0]
}

// compact drops the waiters that have left: for each that stays, at least three. To find
// each of them as it leaves would make a release slower.
func (h *byEnd) compact(q *queue) {
	h.heap = slices.DeleteFunc(h.heap, func(w *Waiter) bool { return w.in != q })
	heap.Init(h)
}

func (h *byEnd) Len() int           { return len(h.heap) }
func (h *byEnd) Less(i, j int) bool { return h.last != h.heap[i].Latest.Before(h.heap[j].Latest) }
func (h *byEnd) Swap(i, j int)      { h.heap[i], h.heap[j] = h.heap[j], h.heap[i] }
func (h *byEnd) Push(w any)         { h.heap = append(h.heap, w.(*Waiter)) }
func (h *byEnd) Pop() any {
	last := len(h.heap) - 1
	w := h.heap[last]
	h.heap[last] = nil
	h.heap = h.heap[:last]
	return w
}
