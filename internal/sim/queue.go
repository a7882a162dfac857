package sim

import "time"

// queue is a binary heap of what is to happen. Of two things at one time, the one that
// was scheduled first happens first.
type queue struct {
	heap []event
	do   []func() // by slot
	free []int32  // slots
	n    uint64
}

// An event has no pointer, so that moving it is cheap.
type event struct {
	at   int64 // ns since the start of the run
	n    uint64
	slot int32
}

func (e *event) before(o *event) bool { return e.at < o.at || (e.at == o.at && e.n < o.n) }

func (q *queue) push(at time.Duration, do func()) {
	q.n++
	slot := int32(len(q.do))
	if last := len(q.free) - 1; last >= 0 {
		slot, q.free = q.free[last], q.free[:last]
		q.do[slot] = do
	} else {
		q.do = append(q.do, do)
	}
	q.heap = append(q.heap, event{int64(at), q.n, slot})
	h := q.heap
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// pop returns what happens next, and when. There is always something: the checks go on.
func (q *queue) pop() (time.Duration, func()) {
	h := q.heap
	first, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	q.heap = h
	for i := 0; ; {
		least := 2*i + 1
		if least >= len(h) {
			break
		}
		if right := least + 1; right < len(h) && h[right].before(&h[least]) {
			least = right
		}
		if !h[least].before(&h[i]) {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	do := q.do[first.slot]
	q.do[first.slot] = nil
	q.free = append(q.free, first.slot)
	return time.Duration(first.at), do
}
