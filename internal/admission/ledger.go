package admission

import (
	"fmt"
	"slices"
	"sync"
	"time"

	limits "github.com/go-holdoff/holdoff/internal/limit"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// Limits with weights: requests, tokens, points. A request draws on each limit of its
// point, all together or none, before it looks at the gates.

const (
	// maxGroups bounds the points of which a key knows the limits.
	maxGroups = 256
	// maxDraws bounds the limits that one request draws on.
	maxDraws = 16
	// costGain is the gain of the average of what requests cost, as in RFC 6298.
	costGain = 1.0 / 8
	// slim is the share of a limit below which it may be what refused a request: the cost
	// may be more than was thought.
	slim = 0.25
)

// The names of limits that each request draws one of.
const (
	Requests = "requests"
	InFlight = "in flight"
)

// A Ledger has the accounts of the limits of a key. It has a lock of its own, which is
// never held together with the key's.
type Ledger struct {
	key   string
	store LimitStore // nil where the limits are not shared
	// concurrent is whether one of the limits is of requests in flight.
	concurrent bool

	mu      sync.Mutex // guards what follows, and all that the groups and drafts have
	entries []*entry
	known   int // how many of them, the first ones, the user knows
	groups  map[scope.Scope]*group
	line    []*Draft // those that wait, in their order
	left    int      // how many have left the line with what they asked for
	timer   *time.Timer
	keeping bool // a timer looks after credit that is not used
}

// An entry is an account, and what requests ahead in the line claim of it.
type entry struct {
	*limits.Account
	claimed float64
	covered int    // how many of those have a grant of the fleet
	asks    int    // how many of those need one
	record  string // its name in the store
	credit  credit
}

// A group is what requests from one point draw on.
type group struct {
	scope scope.Scope
	draws []draw
}

type draw struct {
	*entry
	each     float64 // what such a request cost before
	measured bool    // each is what the server or the caller says, not what numbers imply
}

// newLedger returns a ledger with the limits that the user knows.
func newLedger(key string, known []limits.Limit, store Store) *Ledger {
	l := &Ledger{key: key, groups: make(map[scope.Scope]*group), known: len(known)}
	l.store, _ = store.(LimitStore)
	now := time.Now()
	for _, k := range known {
		e := l.add(limits.FromUser(k, now), scope.Scope{})
		l.concurrent = l.concurrent || e.Concurrent()
	}
	return l
}

func (l *Ledger) add(a *limits.Account, of scope.Scope) *entry {
	e := &entry{Account: a, record: fmt.Sprintf("%s|%v|%s", of.Of(l.key), a.Per, a.Name)}
	e.credit.said = limits.Unknown
	l.entries = append(l.entries, e)
	return e
}

// Ledger returns the ledger of the key, or nil while no limit is known.
func (k *Key) Ledger() *Ledger { return k.ledger.Load() }

// OpenLedger returns the ledger of the key, and makes it if there is none.
func (k *Key) OpenLedger() *Ledger {
	if k.ledger.Load() == nil {
		k.ledger.CompareAndSwap(nil, newLedger(k.text, nil, k.store()))
	}
	return k.ledger.Load()
}

// group returns the limits of a point. What is beyond the bound shares one.
func (l *Ledger) group(at scope.Scope) *group {
	if at = at.Shared(); l.groups[at] == nil && len(l.groups) >= maxGroups {
		at = scope.Scope{}
	}
	g := l.groups[at]
	if g == nil {
		g = &group{scope: at.Clone()}
		for _, e := range l.entries[:l.known] {
			g.draws = append(g.draws, draw{entry: e})
		}
		l.groups[g.scope] = g
	}
	return g
}

// find returns the place of a limit that the server spoke of, and makes it if there is
// none; negative where there are too many.
func (l *Ledger) find(g *group, said limits.Limit, now time.Time) int {
	for i := range g.draws {
		if d := &g.draws[i]; d.Name == said.Name && d.Per == said.Per && !d.Known() {
			return i
		}
	}
	if len(g.draws) >= maxDraws {
		return -1
	}
	e := l.add(limits.FromAnswer(said, now), g.scope)
	g.draws = append(g.draws, draw{entry: e})
	return len(g.draws) - 1
}

// cost returns what a request draws on a limit: what its caller says, or what such
// requests cost before; at least what a refusal has shown.
func (d *Draft) cost(i int) float64 {
	of := &d.group.draws[i]
	cost, said := d.Cost[of.Name]
	switch {
	case said:
	case of.Name == Requests || of.Name == InFlight:
		cost = 1
	default:
		cost = of.each
	}
	if i < len(d.least) {
		cost = max(cost, d.least[i])
	}
	return cost
}

// measure takes in what a request cost. What is only implied by the numbers does not
// count beside what was said.
func (d *draw) measure(cost float64, said bool) {
	switch {
	case cost <= 0 || d.measured && !said:
	case d.each == 0 || said && !d.measured:
		d.each, d.measured = cost, said
	default:
		d.each += (cost - d.each) * costGain
	}
}

// An Answer is what came of a request, for the limits that it draws on.
type Answer struct {
	Limits  []limits.Limit // what the answer says of them
	Served  bool
	Refused bool // the server refused it, and did nothing
	Unsent  bool // it has not reached the server
}

// Learn takes in an answer to a request from a point. d is nil where it drew on nothing.
// It reports whether a limit explains the refusal: then the request waits for that
// limit, and no other is held.
func (l *Ledger) Learn(d *Draft, at scope.Scope, a Answer) (explained bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if d == nil {
		d = &Draft{group: l.group(at)}
	}
	tightest, left, about := -1, slim, 0.0
	for _, said := range a.Limits {
		i := l.find(d.group, said, now)
		if i < 0 || !said.Valid() || said.Remaining < 0 {
			continue
		}
		cost := d.cost(i) // before the answer changes what is assumed
		of := &d.group.draws[i]
		each, ok := of.Learn(said, d.mark(i), now)
		if i < len(d.places) && d.places[i] > 0 && d.places[i] >= of.credit.mark {
			of.credit.said, of.credit.mark, of.credit.saidAt = said.Remaining, d.places[i], d.mark(i).At()
		}
		switch {
		case said.Charged > 0:
			of.measure(said.Charged, true)
		case ok:
			of.measure(min(each, max(said.Max, each*slim)), false)
		}
		short := of.Short(cost, said.Remaining)
		switch {
		case a.Refused && short:
			of.Refused(now)
			explained = true
		case a.Served && d.trial && short:
			of.ServedBeyond(now)
		case a.Refused && said.Max > 0 && said.Remaining < left*said.Max:
			tightest, left, about = i, said.Remaining/said.Max, said.Remaining
		}
	}
	if a.Refused && !explained && tightest >= 0 {
		// It cost more than was thought: more than remained, at least.
		of := &d.group.draws[tightest]
		more := about + max(about*slim, 1)
		for len(d.least) <= tightest {
			d.least = append(d.least, 0)
		}
		d.least[tightest] = more
		if of.Name != Requests {
			of.measure(more, false)
		}
		of.Refused(now)
		explained = true
	}
	l.giveBack(d, a, now)
	l.release(now)
	return explained
}

// giveBack returns what a request drew that the server has not charged: all of what was
// not sent, and of what was refused all except the request itself.
func (l *Ledger) giveBack(d *Draft, a Answer, now time.Time) {
	for i, m := range d.marks {
		of := &d.group.draws[i]
		switch {
		case of.Concurrent():
		case a.Unsent, a.Refused && of.Name != Requests:
			of.Return(m, d.drawn[i], now)
			if of.Known() {
				of.settle(-d.drawn[i], d.places[i], now)
			}
		}
	}
}

// Charge takes in what a request cost in truth.
func (l *Ledger) Charge(d *Draft, cost map[string]float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for i := range d.marks {
		of := &d.group.draws[i]
		actual, said := cost[of.Name]
		if !said || !(actual >= 0 && actual <= limits.MaxAmount) {
			continue
		}
		of.measure(actual, true)
		of.Correct(d.marks[i], actual-d.drawn[i], now)
		if of.Known() {
			of.settle(actual-d.drawn[i], d.places[i], now)
		}
		d.drawn[i] = actual
	}
	l.release(now)
}

// A LimitSeen is a limit as it is known now.
type LimitSeen struct {
	limits.Limit
	Scope scope.Scope
	Known bool // to the user; else the server says so
	Off   bool // it is not enforced, and holds no request
}

// Inspect returns the limits, and how many requests wait for them.
func (l *Ledger) Inspect() (all []LimitSeen, waiters int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, e := range l.entries[:l.known] {
		all = append(all, LimitSeen{Limit: e.Seen(now), Known: true})
	}
	for _, g := range l.groups {
		for _, d := range g.draws {
			if !d.Known() {
				all = append(all, LimitSeen{Limit: d.Seen(now), Scope: g.scope, Off: d.Ignored(now)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b LimitSeen) int { return compareScopes(a.Scope, b.Scope) })
	return all, len(l.line)
}
