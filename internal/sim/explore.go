package sim

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// A Start is where an exploration begins.
type Start int

const (
	Fresh    Start = iota // nothing is known of the key
	HoldOver              // a hint was reported, and is over: a decision is due
	ProbeOut              // replica 0 has the permit of the probe
)

// Explore visits every state that two replicas and one key can reach in so many steps,
// breadth first. A step is one of: a replica reports a hint, reports the result of its
// probe, asks for a permit, gives a call up, or crashes; a message arrives, arrives and
// stays to arrive again, or is lost; the record is lost (once); time passes, until
// something ends. So a message may be late by any time.
func Explore(from Start, depth int, rules Rules) Exploration {
	e := explorer{rules: rules.withDefaults(), seed: maphash.MakeSeed(), seen: make(map[uint64]bool)}
	e.visit(e.start(from), nil)
	for level := 0; level < depth && e.err == nil; level++ {
		frontier := e.next
		e.next = nil
		for _, w := range frontier {
			e.expand(w)
			if e.err != nil {
				break
			}
		}
	}
	return Exploration{States: len(e.seen), Steps: e.steps, Err: e.err}
}

func (e *explorer) start(from Start) world {
	w := world{now: time.UnixMilli(1_800_000_000_000), losses: 1, crashes: 1}
	if from == Fresh {
		return w
	}
	hint := hold.Report{Replica: "0.0", Call: 1, Version: hold.Version, Hint: exploreHint, ServerDirected: true, Status: 429}
	w.record.Add(hint, w.now, MaxHold)
	w.now = w.now.Add(exploreHint)
	if from == HoldOver {
		return w
	}
	ask := hold.Report{Replica: "0.0", Call: 2, Version: hold.Version, Want: 1, Lease: time.Second}
	reply := w.record.Add(ask, w.now, MaxHold)
	d := hold.Advance(reply.Record, ask, reply.Now, MaxHold, func(time.Duration) time.Duration { return 0 })
	w.granted = w.record.Commit(d, w.now).Snapshot.Permits
	w.replicas[0] = prober{probe: true, permit: w.record.Generation, calls: 2}
	return w
}

// An Exploration is what came of Explore.
type Exploration struct {
	States, Steps int
	Err           error // the first invariant that did not hold, and the way there
}

const (
	exploreHint = 3 * time.Second
	mostInFly   = 3
)

// world is one state.
type world struct {
	now      time.Time
	record   hold.Record
	replicas [2]prober
	net      []message
	losses   int       // of the record, that may still happen
	crashes  int       // of replicas, that may still happen
	hint     time.Time // the longest that was reported since the record was last lost
	granted  int       // of this round
	path     *path
}

// path is how a state was reached.
type path struct {
	before *path
	step   string
}

// prober is a replica with requests in line.
type prober struct {
	life   int
	calls  uint64
	hints  int    // that it was given
	busy   bool   // it waits for a reply
	probe  bool   // its probe is under way
	permit uint64 // the generation of its probe
}

// message is a call that is on its way, or its answer.
type message struct {
	kind     string // "report", "commit" or "reply"
	replica  int
	life     int
	report   hold.Report
	decision hold.Decision
	decide   bool
	granted  int
	gen      uint64
}

type explorer struct {
	rules Rules
	seed  maphash.Seed
	seen  map[uint64]bool
	next  []world
	steps int
	err   error
}

func (w world) clone() world {
	w.record.Witnesses = maps.Clone(w.record.Witnesses)
	w.net = slices.Clone(w.net)
	return w
}

// visit notes a state that one step leads to, unless it is known.
func (e *explorer) visit(w world, step func() string) {
	e.steps++
	var net []string
	for _, m := range w.net {
		net = append(net, fmt.Sprint(m))
	}
	slices.Sort(net)
	key := w
	key.net, key.path = nil, nil
	var h maphash.Hash
	h.SetSeed(e.seed)
	fmt.Fprint(&h, key.now.UnixNano(), key.hint.UnixNano(), key.record, key.replicas, key.losses, key.crashes, key.granted, net)
	if sum := h.Sum64(); !e.seen[sum] {
		e.seen[sum] = true
		if step != nil {
			w.path = &path{w.path, step()}
		}
		e.next = append(e.next, w)
		e.alive(w)
	}
}

func (e *explorer) fail(w world, format string, args ...any) {
	if e.err != nil {
		return
	}
	way := ""
	for p := w.path; p != nil; p = p.before {
		way = "\n  " + p.step + way
	}
	e.err = fmt.Errorf("%s, after%s", fmt.Sprintf(format, args...), way)
}

// alive: whatever happened, a replica that asks when all is over decides, or is
// granted a permit, or the key is healthy. So every hold and every claim ends, and no
// permit is lost for ever.
func (e *explorer) alive(w world) {
	w = w.clone()
	now := latest(w.now, w.record.Until.Time(), w.record.HintUntil.Time(), w.record.ClaimUntil.Time())
	ask := hold.Report{Replica: "late", Call: 1, Version: hold.Version, Want: 1, Lease: time.Second}
	reply := e.rules.Add(&w.record, ask, now, MaxHold)
	if !reply.Decide && reply.Snapshot.Permits == 0 && reply.Snapshot.Phase != hold.Healthy {
		e.fail(w, "the key is %v, and a replica that asks when all is over gets nothing", reply.Snapshot.Phase)
	}
}

// expand takes every step from a state.
func (e *explorer) expand(w world) {
	for i := range w.replicas {
		p := &w.replicas[i]
		if !p.busy && len(w.net) < mostInFly {
			if p.hints < 1 {
				e.call(w, i, "hint")
			}
			e.call(w, i, "ask")
			if p.probe {
				e.call(w, i, "good")
				e.call(w, i, "bad")
			}
		}
		if w.crashes > 0 {
			n := w.clone()
			n.crashes--
			n.replicas[i] = prober{life: p.life + 1}
			e.visit(n, func() string { return fmt.Sprintf("replica %d crashes", i) })
		}
		if p.busy {
			n := w.clone()
			n.replicas[i].busy = false
			e.visit(n, func() string { return fmt.Sprintf("replica %d gives its call up", i) })
		}
	}
	for i, m := range w.net {
		lost := w.clone()
		lost.net = slices.Delete(lost.net, i, i+1)
		e.visit(lost, func() string { return fmt.Sprintf("a %s of replica %d is lost", m.kind, m.replica) })
		e.deliver(lost, m, "arrives")
		if m.kind != "reply" && len(w.net) < mostInFly {
			e.deliver(w.clone(), m, "arrives, and will again")
		}
	}
	if w.losses > 0 {
		n := w.clone()
		n.losses--
		n.record, n.hint, n.granted = hold.Record{}, time.Time{}, 0
		e.visit(n, func() string { return "the record is lost" })
	}
	if at, ok := w.nextEnd(); ok {
		n := w.clone()
		n.now = at
		e.visit(n, func() string { return fmt.Sprintf("%v pass", at.Sub(w.now)) })
	}
}

// nextEnd returns when a claim, a round, a hint, or the age of a decision next ends.
func (w world) nextEnd() (time.Time, bool) {
	var next time.Time
	ends := []time.Time{w.record.ClaimUntil.Time(), w.record.Until.Time(), w.record.HintUntil.Time()}
	for _, m := range w.net {
		if m.kind == "commit" {
			ends = append(ends, m.decision.At.Time().Add(hold.MaxAge+time.Millisecond))
		}
	}
	for _, t := range ends {
		if t.After(w.now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next, !next.IsZero()
}
