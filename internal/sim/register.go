package sim

import (
	"maps"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// register is the store: records as Record.Add and Record.Commit keep them, with
// what a Redis adds to them: an epoch of the data and a sequence of changes, expiry,
// and a clock of its own.
type register struct {
	sim    *Sim
	offset time.Duration // of its clock
	down   bool
	data
	copy *data // what a replica of the store has
}

// data is what a failover may set back.
type data struct {
	epoch, seq uint64
	records    [maxKeys]stored
}

// stored is one record, with the ledger of its round.
type stored struct {
	hold.Record
	exists  bool
	expires time.Time // by the register's clock
	round   int       // number of the round in the run's ledger
}

// An answer is what the register answers: a reply, and what orders it.
type answer struct {
	reply      hold.Reply
	epoch, seq uint64
	round      int       // the ledger's: no replica looks at it
	sentAt     time.Time // by the run's clock: no replica looks at it
	found      bool
	all        *[maxKeys]answer // of every key, where all were read
}

func (g *register) init(s *Sim) {
	g.sim = s
	g.epoch = 1
}

func (g *register) time() time.Time { return g.sim.now.Add(g.offset) }

// open returns the record of a key, which is empty where it has expired.
func (g *register) open(key int) *stored {
	rec := &g.records[key]
	if rec.exists && !g.time().Before(rec.expires) {
		*rec = stored{}
	}
	return rec
}

// report adds a report. sent is the register's time at sending, as the replica knows
// it: what waited on the way for long is older than it says (report.lua).
func (g *register) report(key int, rep hold.Report, sent time.Time) answer {
	now, rec := g.time(), g.open(key)
	if age := now.Sub(sent); !sent.IsZero() && age > time.Second && age < 10*time.Minute {
		rep.Hint, rep.ResetIn = max(rep.Hint-age, 0), max(rep.ResetIn-age, 0)
	}
	before := g.asOfNow(rec)
	reply := g.sim.rules.Add(&rec.Record, rep, now, MaxHold)
	g.sim.check.reported(rec, rep, now)
	g.sim.check.granted(rec, before.Schedule, reply.Snapshot)
	return g.answer(key, reply)
}

// commit starts the round of a decision.
func (g *register) commit(key int, d hold.Decision, version int) answer {
	now, rec := g.time(), g.open(key)
	before := g.asOfNow(rec)
	reply := g.sim.rules.Commit(&rec.Record, d, now)
	if rec.Rev != before.Rev {
		g.sim.check.committed(rec, before, d, version)
	}
	schedule := before.Schedule
	if d.Changed || now.Sub(before.Until.Time()) > hold.UnusedAfter {
		schedule = hold.Schedule{} // its turns have moved, or were taken for lost
	}
	g.sim.check.granted(rec, schedule, reply.Snapshot)
	return g.answer(key, reply)
}

// answer writes the record, and publishes it where other replicas must learn of it
// (write in common.lua).
func (g *register) answer(key int, reply hold.Reply) answer {
	now, rec := g.time(), &g.records[key]
	g.sim.check.bounded(rec, now)
	s := rec.Snapshot()
	unknown := s.Phase == hold.Healthy && s.Attempts == 0 && rec.Claim == "" && rec.Rev == 0 && rec.Totals.Refusals == 0 && rec.Totals.ResetAt == 0
	if !rec.exists && unknown {
		*rec = stored{}
	} else {
		rec.exists = true
		rec.expires = latest(rec.Keep.Time(), s.Until, now).Add(time.Minute)
		if reply.Changed {
			g.seq++
		}
	}
	a := g.stamp(answer{reply: reply, round: rec.round, found: rec.exists})
	if reply.Changed && rec.exists {
		a.reply.Snapshot.Permits = 0
		g.sim.network.publish(key, a)
		a.reply.Snapshot.Permits = reply.Snapshot.Permits
	}
	return a
}

func (g *register) stamp(a answer) answer {
	a.epoch, a.seq, a.sentAt = g.epoch, g.seq, g.sim.now
	return a
}

// read returns every record.
func (g *register) read() answer {
	all := new([maxKeys]answer)
	for key := range g.sim.Keys {
		rec := g.open(key)
		all[key] = g.stamp(answer{reply: hold.Reply{Snapshot: g.snapshot(rec), Now: g.time()}, found: rec.exists})
	}
	a := all[0]
	a.all = all
	return a
}

// asOfNow is the record as it is by the register's clock, which may have been set back
// (rewind in register.go). An empty report does the same, to a copy.
func (g *register) asOfNow(rec *stored) hold.Record {
	c := rec.Record
	c.Witnesses = maps.Clone(c.Witnesses)
	c.Add(hold.Report{}, g.time(), MaxHold)
	return c
}

// snapshot is what read.lua returns.
func (g *register) snapshot(rec *stored) hold.Snapshot {
	c := g.asOfNow(rec)
	return c.Snapshot()
}

// step sets the register's clock forward or back.
func (g *register) step(d time.Duration) {
	g.offset += d
	if d > 0 {
		g.sim.check.lostData() // for the register, holds are over before their time
	}
}

// flush loses everything.
func (g *register) flush() {
	g.data = data{epoch: g.epoch + 1}
	g.sim.check.lostData()
}

// evict loses one record.
func (g *register) evict(key int) {
	g.records[key] = stored{}
	g.sim.check.lostData()
}

// save makes the copy to which a failover goes back.
func (g *register) save() {
	c := g.data
	for i := range c.records {
		c.records[i].Witnesses = maps.Clone(c.records[i].Witnesses)
	}
	g.copy = &c
}

// restore goes back to the copy. What it grants from now on is counted in a round of
// its own, since what the register granted after the copy was made is forgotten.
func (g *register) restore() {
	if g.copy == nil {
		return
	}
	g.data = *g.copy
	g.copy = nil
	for i := range g.records {
		g.sim.check.restored(&g.records[i])
	}
	g.sim.check.lostData()
}
