package admission

import (
	"cmp"
	"container/heap"
	"container/list"
	"math"
)

// keepGone is how many waiters the heap of a queue holds at most for each that still
// waits, when another joins.
const keepGone = 4

// probeLooks bounds the waiters among which a probe is picked.
const probeLooks = 64

// queue is the line of the requests that wait at a gate. It finds the oldest, the
// best prober and the least patient of them without a walk along the line. The
// zero value is empty.
type queue struct {
	first   list.List  // of *waiter, the oldest first: requests that have not failed yet
	retries list.List  // likewise: requests that have failed before
	ends    impatience // both, and some that have left, for other queues also
}

func (q *queue) Len() int { return q.first.Len() + q.retries.Len() }

func (q *queue) push(w *Waiter) {
	w.place, w.in = q.half(w).PushBack(w), q
	heap.Push(&q.ends, w)
	if len(q.ends) > keepGone*q.Len() {
		q.compact()
	}
}

func (q *queue) remove(w *Waiter) {
	q.half(w).Remove(w.place)
	w.place, w.in = nil, nil
	if q.Len() == 0 {
		q.ends = nil
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

// pickProbe returns the waiter that tells most about the host: the oldest that has
// not failed yet. Requests that fail by themselves, on a broken path, stand in line
// again and again, and as probes they would hold the key for ever.
// Of the oldest ones, it is one that suspicion says least against.
func (q *queue) pickProbe(suspicion func(*Waiter) int) *Waiter {
	best, least := cmp.Or(front(&q.first), front(&q.retries)), math.MaxInt
	n := 0
	for e := q.first.Front(); e != nil && n < probeLooks && least > 0; e = e.Next() {
		w := e.Value.(*Waiter)
		if s := suspicion(w); s < least {
			best, least = w, s
		}
		n++
	}
	return best
}

// soonest returns the waiter whose patience ends first, or nil if there is none.
func (q *queue) soonest() *Waiter {
	for len(q.ends) > 0 && q.ends[0].in != q {
		heap.Pop(&q.ends)
	}
	if len(q.ends) == 0 {
		return nil
	}
	return q.ends[0]
}

// compact drops the waiters that have left from ends: for each that stays, at least
// three. To find each of them as it leaves would make a release slower.
func (q *queue) compact() {
	all := q.ends
	q.ends = make(impatience, 0, q.Len())
	for _, w := range all {
		if w.in == q {
			q.ends = append(q.ends, w)
		}
	}
	heap.Init(&q.ends)
}

func front(l *list.List) *Waiter {
	if e := l.Front(); e != nil {
		return e.Value.(*Waiter)
	}
	return nil
}

// impatience is a heap of waiters by the end of their patience.
type impatience []*Waiter

func (h impatience) Len() int           { return len(h) }
func (h impatience) Less(i, j int) bool { return h[i].Latest.Before(h[j].Latest) }
func (h impatience) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *impatience) Push(w any)        { *h = append(*h, w.(*Waiter)) }
func (h *impatience) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return w
}
