package storetest

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// brokenStores are stores that are wrong in one thing each, with a part of the name
// of a rule that finds it.
var brokenStores = []struct {
	name, rule string
	open       func() holdoff.Store
}{
	{"forgets results", "results of one generation add up", over(in(func(r *report) { r.Good = 0 }))},
	{"keeps results of the last report alone", "results of one generation add up", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		rec.Totals = hold.Totals{}
		return rec.Add(r, now, time.Hour)
	})},
	{"counts late results", "results of another generation are dropped", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		r.Generation = rec.Generation
		return rec.Add(r, now, time.Hour)
	})},
	{"counts results of an unknown key", "results of a key about which nothing was decided", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		rec.Totals.Good += r.Good
		return rec.Add(r, now, time.Hour)
	})},
	{"forgets status codes", "counted for people", over(in(func(r *report) { r.Status = 0 }))},
	{"believes the last quota", "of a quota the later window counts", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		rec.Totals.ResetAt, rec.Totals.Remaining = 0, 0
		return rec.Add(r, now, time.Hour)
	})},
	{"believes a quota that contradicts itself", "contradict each other is noted", over(in(func(r *report) { r.Inconsistent = false }))},
	{"believes any number", "numbers out of any range", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		got := rec.Add(r, now, time.Hour)
		rec.Totals.Bad += min(r.Bad, 0)
		got.Record.Totals = rec.Totals
		return got
	})},
	{"forgets failures", "twenty failures that two replicas saw", over(in(func(r *report) { r.Failures = 0 }))},
	{"takes every report for another replica's", "failures that one replica saw", over(in(func(r *report) { r.Replica += string(rune('a' + r.Call%26)) }))},
	{"counts a report each time that it arrives", "a report that arrives twice", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		rec.Witnesses = maps.Clone(rec.Witnesses)
		if rec.Witnesses[r.Replica] > 0 {
			rec.Witnesses[r.Replica] = r.Call - 1
		}
		return rec.Add(r, now, time.Hour)
	})},
	{"ignores successes", "a success clears the failures", over(in(func(r *report) { r.Well = false }))},
	{"remembers all witnesses", "witnesses are bounded", out2(func(rec *holdoff.Record, got *reply) { got.Snapshot.Witnesses = rec.Attempts })},
	{"forgets failures at each decision", "failures that a decision left", over(committed(func(d *decision) { d.Failures = 0 }))},
	{"ignores from when refusals count", "refusals of a healthy key", over(committed(func(d *decision) { d.Alarms.RefusalsFrom = 0 }))},
	{"answers with times of its own clock", "a hint holds the key", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		return rec.Add(r, now.Add(time.Minute), time.Hour)
	})},
	{"forgets hints", "a hint holds the key", over(in(func(r *report) { r.Hint = 0 }))},
	{"adds hints up", "a hint that arrives again", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		if r.Hint > 0 && rec.HintUntil > 0 {
			r.Hint += time.Second
		}
		return rec.Add(r, now, time.Hour)
	})},
	{"believes the last hint", "a longer hint extends a hold", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		if r.Hint > 0 {
			rec.HintUntil = 0
		}
		return rec.Add(r, now, time.Hour)
	})},
	{"has a hold decided at once", "a hint holds the key", over(out(func(r report, got *reply) { got.Decide = got.Decide || r.Hint > 0 }))},
	{"grants permits in a hold", "a hint ends the round", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		until := rec.HintUntil
		rec.HintUntil = 0
		got := rec.Add(r, now, time.Hour)
		rec.HintUntil = max(until, rec.HintUntil)
		return got
	})},
	{"forgets hints at each decision", "a hint outlives a decision", commits(func(rec *holdoff.Record, d decision, now time.Time) reply {
		d.SeenHint = rec.HintUntil
		return rec.Commit(d, now)
	})},
	{"keeps hints for ever", "a decision ends the hint", over(committed(func(d *decision) { d.SeenHint = 1 }))},
	{"has an end of a hold decided that no replica asked for", "the end of a hint needs a decision", over(in(func(r *report) { r.Want = max(r.Want, 1) }))},
	{"takes short hints for long ones", "a hint holds no request if", over(in(func(r *report) { r.ServerDirected = r.Hint > 0 }))},
	{"believes any hint", "a hint without bounds", out2(func(rec *holdoff.Record, got *reply) {
		if rec.HintUntil.Time().Sub(got.Now) > 50*time.Minute {
			got.Snapshot.Until = got.Now.Add(290 * 365 * 24 * time.Hour)
		}
	})},
	{"grants what is wanted", "a round grants no more than its permits, over all", over(out(func(r report, got *reply) { got.Snapshot.Permits = max(r.Want, 0) }))},
	{"grants each permit twice", "a round grants no more than its permits to many", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		got := rec.Add(r, now, time.Hour)
		rec.Granted -= got.Snapshot.Permits / 2
		return got
	})},
	{"grants permits of a round that is over", "a round grants nothing once", out2(func(rec *holdoff.Record, got *reply) {
		if got.Decide {
			got.Snapshot.Permits = 2
		}
	})},
	{"grants permits of a healthy key", "where every request may be sent", over(out(func(r report, got *reply) {
		if got.Snapshot.Phase == holdoff.Healthy {
			got.Snapshot.Permits = r.Want
		}
	}))},
	{"grants no new permits", "a new round grants new permits", over(committed(func(d *decision) { d.NewRound = d.Rev == 0 }))},
	{"grants permits again", "does not begin a round", over(committed(func(d *decision) { d.NewRound = true }))},
	{"grants nothing after a decision that failed", "a decision that failed grants", commits(func(rec *holdoff.Record, d decision, now time.Time) reply {
		if d.Rev != rec.Rev {
			d.Want = 0
		}
		return rec.Commit(d, now)
	})},
	{"grants less than nothing", "impossible numbers of permits", over(out(func(r report, got *reply) { got.Snapshot.Permits = min(got.Snapshot.Permits, r.Want) }))},
	{"forgets that permits were wanting", "when permits were last wanting", out2(func(_ *holdoff.Record, got *reply) { got.Record.DeniedAt = 0 })},
	{"takes the end of a round for a want of permits", "a replica that asks as a round ends", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		if r.Want > 0 && rec.Until.Time().Before(now) {
			rec.DeniedAt = hold.Millis(now.UnixMilli())
		}
		return rec.Add(r, now, time.Hour)
	})},
	{"has everything decided", "at the result that its alarm names", over(out(func(_ report, got *reply) { got.Decide = true }))},
	{"has nothing decided", "when the round is over", over(out(func(_ report, got *reply) { got.Decide = false }))},
	{"ignores alarms of quotas", "at the news of a quota", over(committed(func(d *decision) { d.Alarms.Near, d.Alarms.Spent = false, false }))},
	{"has a hold's end decided that no replica asked for", "a hold or a probe that is over", over(in(func(r *report) { r.Want = max(r.Want, 1) }))},
	{"lets all decide", "one replica decides at a time", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		rec.ClaimUntil = 0
		return rec.Add(r, now, time.Hour)
	})},
	{"lets many decide", "of many replicas that ask", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		rec.ClaimUntil = 0
		return rec.Add(r, now, time.Hour)
	})},
	{"waits for a dead decider", "50 ms after the decider died", adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		if rec.Claim != "" {
			rec.ClaimUntil = hold.Millis(now.Add(claim).UnixMilli())
		}
		return rec.Add(r, now, time.Hour)
	})},
	{"lets a replica decide that cannot read", "a replica that cannot read the memory", over(in(func(r *report) { r.Version = 99 }))},
	{"rounds rates", "a commit comes back as it was made", over(committed(func(d *decision) { d.Memory.Rate = float64(int(d.Memory.Rate)) }))},
	{"forgets alarms", "a commit comes back as it was made", over(committed(func(d *decision) { d.Alarms.Refusals = false }))},
	{"ignores revisions", "a commit succeeds once per revision", commits(func(rec *holdoff.Record, d decision, now time.Time) reply {
		d.Rev = rec.Rev
		return rec.Commit(d, now)
	})},
	{"takes each of many commits", "of many commits of one revision", commits(func(rec *holdoff.Record, d decision, now time.Time) reply {
		d.Rev = rec.Rev
		return rec.Commit(d, now)
	})},
	{"takes a commit whatever its age", "a commit for a record that is too old", commits(func(rec *holdoff.Record, d decision, now time.Time) reply {
		d.At = holdoff.Millis(now.UnixMilli())
		return rec.Commit(d, now)
	})},
	{"loses what came before a commit", "what came between", commits(func(rec *holdoff.Record, d decision, now time.Time) reply {
		d.Seen = rec.Totals
		return rec.Commit(d, now)
	})},
	{"keeps results over generations", "results that came between are dropped", commits(func(rec *holdoff.Record, d decision, now time.Time) reply {
		rest := rec.Totals
		got := rec.Commit(d, now)
		rec.Totals.Good = rest.Good
		return got
	})},
	{"keeps a claim after its commit", "a commit ends the claim", commits(func(rec *holdoff.Record, d decision, now time.Time) reply {
		who, until := rec.Claim, rec.ClaimUntil
		got := rec.Commit(d, now)
		rec.Claim, rec.ClaimUntil = who, until
		return got
	})},
	{"remembers witnesses over rounds", "an unhealthy round forgets", commits(func(rec *holdoff.Record, d decision, now time.Time) reply {
		witnesses := rec.Witnesses
		got := rec.Commit(d, now)
		rec.Witnesses = witnesses
		got.Snapshot.Witnesses = len(witnesses)
		return got
	})},
	{"tells a new watcher nothing", "told before Watch returns", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		begun := false
		stop := s.Watch(key, func(scope string, s state) {
			if begun {
				changed(scope, s)
			}
		})
		begun = true
		return stop
	}})},
	{"tells of healthy keys", "a watcher of a healthy key", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		changed("", state{})
		return s.Watch(key, changed)
	}})},
	{"tells of nothing", "told of each change", over(broken{watch: func(holdoff.Store, string, func(string, state)) func() { return func() {} }})},
	{"tells of holds alone", "failures of a healthy key begin to count", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		return s.Watch(key, func(scope string, s state) {
			if s.Phase != holdoff.Healthy {
				changed(scope, s)
			}
		})
	}})},
	{"tells of no scope", "a watcher of a key is told of its scopes", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		return s.Watch(key, func(scope string, s state) {
			if scope == "" {
				changed(scope, s)
			}
		})
	}})},
	{"tells a new watcher of no scope", "told before Watch returns of scopes", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		begun := false
		stop := s.Watch(key, func(scope string, s state) {
			if begun || scope == "" {
				changed(scope, s)
			}
		})
		begun = true
		return stop
	}})},
	{"takes scopes for their key", "a watcher of a key is told of its scopes", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		return s.Watch(key, func(_ string, s state) { changed("", s) })
	}})},
	{"takes a key that begins alike for the key", "a key that begins like it", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		s.Watch(key+"x", changed)
		return s.Watch(key, changed)
	}})},
	{"takes the beginning of a key for the key", "that it begins like", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		s.Watch(key[:max(len(key)-1, 0)], changed)
		return s.Watch(key, changed)
	}})},
	{"tells of the first change of a scope", "each change of a scope", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		var told sync.Map
		return s.Watch(key, func(scope string, s state) {
			if _, again := told.LoadOrStore(scope, true); scope == "" || !again {
				changed(scope, s)
			}
		})
	}})},
	{"tells of scopes for ever", "told of no scope", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		s.Watch(key, func(scope string, s state) {
			if scope != "" {
				changed(scope, s)
			}
		})
		return s.Watch(key, func(scope string, s state) {
			if scope == "" {
				changed(scope, s)
			}
		})
	}})},
	{"tells for ever", "a watcher that stopped is told no more", over(broken{watch: func(s holdoff.Store, key string, changed func(string, state)) func() {
		s.Watch(key, changed)
		return func() {}
	}})},
	{"tells with its lock held", "a watcher may call its store", func() holdoff.Store { return lockedWatcher() }},
	{"has no versions", "versions only grow", over(broken{commit: func(s holdoff.Store, key string, d decision) (reply, error) {
		got, err := s.Commit(context.Background(), key, d)
		got.Snapshot.Version = 1
		return got, err
	}})},
	{"takes keys for one in lower case", "keys are apart", over(broken{report: func(s holdoff.Store, key string, r report) (reply, error) {
		return s.Report(context.Background(), strings.ToLower(key), r)
	}})},
	{"has no key of a name that is long", "a name that is empty, long or no text", over(broken{report: func(s holdoff.Store, key string, r report) (reply, error) {
		if len(key) > 1000 {
			return reply{}, nil
		}
		return s.Report(context.Background(), key, r)
	}})},
	{"keeps few keys", "many keys are held at once", func() holdoff.Store {
		s := &register{}
		s.add = func(rec *holdoff.Record, r report, now time.Time) reply {
			for key := range s.keys {
				if len(s.keys) > 50 && &s.keys[key].record != rec {
					delete(s.keys, key)
				}
			}
			return rec.Add(r, now, time.Hour)
		}
		return s
	}},
	{"ends with a context", "a call whose context has ended", func() holdoff.Store { return &mortal{} }},
	{"forgets every key", "", over(broken{
		report: func(holdoff.Store, string, report) (reply, error) { return reply{}, nil },
		commit: func(holdoff.Store, string, decision) (reply, error) { return reply{}, nil },
	})},
	{"fails", "a report that says nothing", over(broken{report: func(holdoff.Store, string, report) (reply, error) { return reply{}, errors.New("out of order") }})},
}
