package sim

import (
	"strconv"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// replica is one process of the fleet.
type replica struct {
	sim      *Sim
	id       int
	version  int    // of the records that it reads
	life     int    // counts its restarts
	name     string // of this life
	up       bool
	cut      bool // from the store
	calls    uint64
	mirror   mirror
	sessions [maxKeys]*session
}

// boot starts a process, which knows nothing.
func (r *replica) boot() {
	s := r.sim
	r.life++
	r.up, r.calls, r.mirror = true, 0, mirror{}
	r.name = strconv.Itoa(r.id) + "." + strconv.Itoa(r.life)
	s.logf("replica %s starts", r.name)
	for key := range s.Keys {
		r.sessions[key] = &session{replica: r, sim: s, key: key, life: r.life}
		r.arrivals(key)
	}
	r.mirror.readAll(r)
	r.mirror.keepUp(r)
}

// later does something after a while, if the process still lives.
func (r *replica) later(d time.Duration, do func()) {
	life := r.life
	r.sim.after(d, func() {
		if r.up && r.life == life {
			do()
		}
	})
}

// crash ends a process: all that it knew, and all requests, are gone.
func (r *replica) crash() {
	r.sim.logf("replica %s crashes", r.name)
	r.up = false
}

// arrivals are new requests, until the process ends.
func (r *replica) arrivals(key int) {
	s := r.sim
	mean := time.Duration(float64(time.Second) / s.Demand[key] * float64(s.Config.Replicas))
	gap := mean
	if s.Poisson {
		gap = time.Duration(float64(mean) * min(s.rng.ExpFloat64(), 20))
	}
	r.later(gap, func() {
		r.sessions[key].arrive(request{patience: s.patience()})
		r.arrivals(key)
	})
}

// patience is how long a request waits: some cannot wait at all.
func (s *Sim) patience() time.Duration {
	if s.chance(s.Impatient) {
		return s.jitter(50 * time.Millisecond)
	}
	return s.Patience/2 + s.jitter(s.Patience/2)
}

// A request is what a caller wants to be sent.
type request struct {
	patience time.Duration
	failed   int // how often it has failed
}

const maxAttempts = 4

// send sends a request to the server.
func (q *session) send(req request, p hold.Permit) {
	s := q.sim
	p.Retry = req.failed > 0
	s.check.sent(q, p)
	latency := s.Latency/2 + s.jitter(s.Latency)
	nothing := s.chance(s.Leave)
	s.after(latency/2, func() {
		res := s.servers[q.key].answer()
		if nothing {
			res = hold.Result{}
		}
		rest := latency / 2
		if res.Lesson == hold.Unreachable {
			rest = s.GiveUp
		}
		res.Permit, res.Hint = p, min(res.Hint, MaxHold)
		s.after(rest, func() {
			if q.lives() {
				q.result(req, res)
			}
		})
	})
}

// result takes in an answer. A request that failed is sent again after a while, if it
// has the patience, and not before its own hint is over.
func (q *session) result(req request, res hold.Result) {
	q.record(res)
	if res.Lesson == hold.Good || res.Lesson == hold.Nothing || req.failed+1 >= maxAttempts {
		return
	}
	req.failed++
	wait := max(res.Hint, 50*time.Millisecond<<req.failed) + q.sim.jitter(100*time.Millisecond)
	req.patience -= wait
	if req.patience <= 0 {
		return
	}
	q.sim.after(wait, func() {
		if q.lives() {
			q.arrive(req)
		}
	})
}
