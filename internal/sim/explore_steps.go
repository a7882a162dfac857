package sim

import (
	"fmt"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// call has a replica report something, or ask.
func (e *explorer) call(w world, i int, what string) {
	w = w.clone()
	p := &w.replicas[i]
	p.calls++
	p.busy = true
	rep := hold.Report{
		Replica: fmt.Sprintf("%d.%d", i, p.life), Call: p.calls, Version: hold.Version, Generation: p.permit, Want: 1, Lease: time.Second,
	}
	switch what {
	case "hint":
		p.hints++
		rep.Hint, rep.ServerDirected, rep.Status, rep.Want = exploreHint, true, 429, 0
	case "good":
		rep.Good, p.probe = 1, false
	case "bad":
		rep.Bad, rep.Status, p.probe = 1, 500, false
	}
	w.net = append(w.net, message{kind: "report", replica: i, life: p.life, report: rep})
	e.visit(w, func() string { return fmt.Sprintf("replica %d: %s", i, what) })
}

// deliver has a message arrive.
func (e *explorer) deliver(w world, m message, how string) {
	step := func() string { return fmt.Sprintf("a %s of replica %d %s", m.kind, m.replica, how) }
	w.path = &path{w.path, step()}
	switch m.kind {
	case "report":
		e.report(&w, m)
	case "commit":
		e.commit(&w, m)
	case "reply":
		e.replied(&w, m)
	}
	w.path = w.path.before
	e.visit(w, step)
}

func (e *explorer) report(w *world, m message) {
	before := w.record
	at := hold.Millis(w.now.UnixMilli())
	reply := e.rules.Add(&w.record, m.report, w.now, MaxHold)
	if m.report.ServerDirected {
		w.hint = latest(w.hint, w.now.Add(m.report.Hint))
	}
	if reply.Due && at >= before.ClaimUntil {
		e.fail(*w, "a claim until %v keeps a replica from deciding", before.ClaimUntil.Time().Sub(w.now))
	}
	a := message{kind: "reply", replica: m.replica, life: m.life, decide: reply.Decide, granted: reply.Snapshot.Permits, gen: reply.Snapshot.Generation}
	if reply.Decide {
		a.decision = e.rules.Advance(reply.Record, m.report, reply.Now, MaxHold, func(time.Duration) time.Duration { return 0 })
	}
	w.net = append(w.net, a)
	e.check(w, reply.Snapshot.Permits)
}

func (e *explorer) commit(w *world, m message) {
	before := w.record
	reply := e.rules.Commit(&w.record, m.decision, w.now)
	if w.record.Rev != before.Rev {
		if m.decision.Rev != before.Rev || w.record.Rev != before.Rev+1 {
			e.fail(*w, "a decision of revision %d was committed at %d", m.decision.Rev, before.Rev)
		}
		if m.decision.NewRound {
			w.granted = 0
		}
	}
	w.net = append(w.net, message{kind: "reply", replica: m.replica, life: m.life, granted: reply.Snapshot.Permits, gen: reply.Snapshot.Generation})
	e.check(w, reply.Snapshot.Permits)
}

// check: grants are bounded, and a hint holds while the record lives.
func (e *explorer) check(w *world, granted int) {
	w.granted += granted
	s := w.record.Snapshot()
	switch {
	case w.granted > w.record.Permits && w.record.Gap == 0:
		e.fail(*w, "%d of %d permits were granted", w.granted, w.record.Permits)
	case w.hint.After(w.now) && (s.Phase != hold.Held || s.Until.Before(w.hint)):
		e.fail(*w, "the key is %v for %v, and a hint asked for %v", s.Phase, s.Until.Sub(w.now), w.hint.Sub(w.now))
	case w.hint.After(w.now) && granted > 0:
		e.fail(*w, "a permit was granted during a hold")
	case w.record.ClaimUntil.Time().Sub(w.now) > 50*time.Millisecond:
		e.fail(*w, "a claim lasts %v", w.record.ClaimUntil.Time().Sub(w.now))
	}
}

// replied has a replica take in the answer to its call.
func (e *explorer) replied(w *world, m message) {
	p := &w.replicas[m.replica]
	if !p.busy || p.life != m.life {
		return // it was given up, or was that of a process that crashed
	}
	if m.decide {
		w.net = append(w.net, message{kind: "commit", replica: m.replica, life: m.life, decision: m.decision})
		return
	}
	p.busy = false
	if m.granted > 0 && !p.probe {
		p.probe, p.permit = true, m.gen
	}
}
