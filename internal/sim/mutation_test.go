package sim

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// A mutation breaks one rule. The invariant that it breaks must not hold for one of the
// first seeds, or the invariant says nothing.
type mutation struct {
	name   string
	rules  Rules
	within uint64 // seeds
	breaks string // part of what is said
}

var mutations = []mutation{
	{
		name: "a commit ignores the revision", within: 50, breaks: "a decision of revision",
		rules: Rules{Commit: func(r *hold.Record, d hold.Decision, now time.Time) hold.Reply {
			d.Rev, d.At = r.Rev, hold.Millis(now.UnixMilli())
			return r.Commit(d, now)
		}},
	},
	{
		name: "a commit ignores its age", within: 200, breaks: "old",
		rules: Rules{Commit: func(r *hold.Record, d hold.Decision, now time.Time) hold.Reply {
			d.MaxAge = time.Hour
			return r.Commit(d, now)
		}},
	},
	{
		name: "a grant ignores what was granted", within: 50, breaks: "permits",
		rules: Rules{Add: func(r *hold.Record, rep hold.Report, now time.Time, longest time.Duration) hold.Reply {
			granted := r.Granted
			r.Granted = 0
			reply := r.Add(rep, now, longest)
			r.Granted += granted
			return reply
		}},
	},
	{
		name: "a replica takes a permit twice", within: 50, breaks: "permits",
		rules: Rules{Adopt: func(m *hold.Machine, s hold.Snapshot, now time.Time) {
			s.Permits *= 2
			m.Adopt(s, now)
		}},
	},
	{
		name: "a report drops the hint", within: 50, breaks: "a hint of",
		rules: Rules{Add: func(r *hold.Record, rep hold.Report, now time.Time, longest time.Duration) hold.Reply {
			rep.Hint = 0
			return r.Add(rep, now, longest)
		}},
	},
	{
		name: "a commit drops a hint that it has not seen", within: 2000, breaks: "lost a hint",
		rules: Rules{Commit: func(r *hold.Record, d hold.Decision, now time.Time) hold.Reply {
			d.SeenHint = r.HintUntil
			return r.Commit(d, now)
		}},
	},
	{
		name: "a replica forgets its own longer hold", within: 1000, breaks: "before the end of a hold",
		rules: Rules{Adopt: func(m *hold.Machine, s hold.Snapshot, now time.Time) {
			var fresh hold.Machine
			if m.OutlastsHold(s) {
				*m = fresh
			}
			m.Adopt(s, now)
		}},
	},
	{
		name: "a record grows with its witnesses", within: 500, breaks: "witnesses",
		rules: Rules{Add: func(r *hold.Record, rep hold.Report, now time.Time, longest time.Duration) hold.Reply {
			reply := r.Add(rep, now, longest)
			r.Witnesses = maps.Clone(r.Witnesses)
			if r.Witnesses == nil {
				r.Witnesses = make(map[string]uint64)
			}
			r.Witnesses[now.String()] = 1
			return reply
		}},
	},
	{
		name: "a claim never ends", within: 500, breaks: "a claim lasts",
		rules: Rules{Add: func(r *hold.Record, rep hold.Report, now time.Time, longest time.Duration) hold.Reply {
			reply := r.Add(rep, now, longest)
			if reply.Decide {
				r.ClaimUntil += 3_600_000
			}
			return reply
		}},
	},
	{
		name: "no replica decides after the end of a round", within: 200, breaks: "no decision",
		rules: Rules{AsWritten: true, Add: func(r *hold.Record, rep hold.Report, now time.Time, longest time.Duration) hold.Reply {
			reply := r.Add(rep, now, longest)
			if r.Rev > 2 {
				reply.Decide = false
			}
			return reply
		}},
	},
	{
		name: "a replica without its store waits for it", within: 500, breaks: "no replica has sent",
		rules: Rules{Deaf: true},
	},
	{
		// What the session did at first: see keepsHold.
		name: "a replica ends a hold that the store has lost", within: 500, breaks: "before the end of a hold",
		rules: Rules{AsWritten: true},
	},
	{
		// What the session did at first: see undecided.
		name: "a replica waits for a decision that no replica can make", within: 3000, breaks: "after the last fault",
		rules: Rules{AsWritten: true},
	},
	{
		name: "a hold has no end", within: 100, breaks: "ends in",
		rules: Rules{Commit: func(r *hold.Record, d hold.Decision, now time.Time) hold.Reply {
			if d.Phase == hold.Held {
				d.Until += 3_600_000
			}
			return r.Commit(d, now)
		}},
	},
	{
		name: "a replica decides on what it cannot read", within: 200, breaks: "decided on a memory of version",
		rules: Rules{Add: func(r *hold.Record, rep hold.Report, now time.Time, longest time.Duration) hold.Reply {
			rep.Version += 5
			return r.Add(rep, now, longest)
		}},
	},
	{
		name: "a ramp never ends", within: 50, breaks: "after the last fault",
		rules: Rules{Advance: func(rec hold.Record, rep hold.Report, now time.Time, longest time.Duration, jitter hold.Jitter) hold.Decision {
			d := hold.Advance(rec, rep, now, longest, jitter)
			if rec.Phase == hold.Ramping && d.Phase == hold.Healthy {
				d.Phase, d.Permits, d.Until = hold.Ramping, 2, hold.Millis(now.UnixMilli())+100
			}
			return d
		}},
	},
}

func TestInvariants_FindEachMutation(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for seed := range m.within {
				if r := Run(seed, m.rules, false); r.Err != nil && strings.Contains(r.Err.Error(), m.breaks) {
					t.Logf("seed %d: %v", seed, r.Err)
					return
				} else if r.Err != nil {
					t.Logf("seed %d, otherwise: %v", seed, r.Err)
				}
			}
			t.Errorf("not found within %d seeds", m.within)
		})
	}
}
