package admission

import (
	"math"
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

const (
	// enoughPoints is how many routes, or credentials, must have been refused before
	// what they have in common is held: two may have limits of their own.
	enoughPoints = 3
	// enoughReplicas is the same where only the replica differs, and where the wider
	// scope is known to be limited.
	enoughReplicas = 2
	// enoughTrials is how many of those refusals must be of requests that this process
	// sent after it knew of the first limit.
	enoughTrials = 1
	// enoughRefusals is how many refusals of one point tell that most of its requests
	// are refused, and not by chance. A process alone measures the whole key first, and
	// has to find out sooner.
	enoughRefusals      = 5
	enoughRefusalsAlone = 2
	// supposeTime is how long a scope is held at first of which it is supposed that it is
	// limited as a whole.
	supposeTime = 2 * hold.Slot
	// narrowMemory is how long it is remembered that a key has limits of a part: the
	// next one puts the rest on no trial.
	narrowMemory = 10 * time.Minute
	// maxPoints bounds the points that are remembered.
	maxPoints = 64
	// unlikely is the chance below which it is not chance that a point is well.
	unlikely = 0.05
	// clean is the share of points that are well by which a limit is seen to be
	// narrow: more than would be by chance.
	clean = 0.25
)

// evidence is what a process knows of where the limits of a key begin and end: points
// that were refused, here or elsewhere, and points that were served. The zero value
// knows nothing. The key's mu guards it.
type evidence struct {
	limits      []limit
	points      []results
	doubted     uint64    // the epoch of the last limit that put the rest on trial
	narrowUntil time.Time // till then, a new limit is taken for a narrow one
}

// A limit is a scope in which the server asked not to be sent to.
type limit struct {
	scope scope.Scope
	epoch uint64 // when that was learned
	sent  uint64 // the epoch in which this process sent what was refused; 0: another replica did
	until time.Time
}

// results are what came of requests at a point, of late.
type results struct {
	scope     scope.Scope
	good, bad int
	epoch     uint64 // of the latest success: when it was sent
}

// add notes a limit, and reports whether it is a new one.
func (e *evidence) add(l limit, now time.Time) (isNew bool) {
	e.limits = slices.DeleteFunc(e.limits, func(l limit) bool { return !l.until.After(now) })
	for i := range e.limits {
		if known := &e.limits[i]; known.scope == l.scope {
			known.until = l.until
			return false
		}
	}
	if len(e.limits) >= maxPoints {
		e.limits = slices.Delete(e.limits, 0, 1)
	}
	l.scope = l.scope.Clone()
	e.limits = append(e.limits, l)
	return true
}

// absorb drops the limits inside a scope that is limited as a whole until then.
func (e *evidence) absorb(s scope.Scope, until time.Time) {
	e.limits = slices.DeleteFunc(e.limits, func(l limit) bool {
		return l.scope != s && s.Covers(l.scope) && !l.until.After(until.Add(hold.Rounding))
	})
}

// drop forgets the limit of a scope.
func (e *evidence) drop(s scope.Scope) {
	e.limits = slices.DeleteFunc(e.limits, func(l limit) bool { return l.scope == s })
}

// covers reports whether a point is in a limit.
func (e *evidence) covers(at scope.Scope, now time.Time) bool {
	return slices.ContainsFunc(e.limits, func(l limit) bool { return l.until.After(now) && l.scope.Covers(at) })
}

// good takes in a success of a request that was sent in an epoch.
func (e *evidence) good(at scope.Scope, epoch uint64) {
	r := e.at(at)
	r.good++
	r.epoch = max(r.epoch, epoch)
}

// bad takes in a refusal.
func (e *evidence) bad(at scope.Scope) { e.at(at).bad++ }

// at returns the results of a point. The one that was looked at longest ago makes room.
func (e *evidence) at(s scope.Scope) *results {
	for i := range e.points {
		if e.points[i].scope == s {
			r := e.points[i]
			if r.good+r.bad >= maxPoints {
				r.good, r.bad = r.good/2, r.bad/2
			}
			e.points = append(slices.Delete(e.points, i, i+1), r)
			return &e.points[len(e.points)-1]
		}
	}
	if len(e.points) >= maxPoints {
		e.points = slices.Delete(e.points, 0, 1)
	}
	e.points = append(e.points, results{scope: s.Clone()})
	return &e.points[len(e.points)-1]
}

// disproves reports whether a success says that a scope is not limited as a whole, although
// several limits in it are known: it was sent after one of them was met, and too few were
// met since.
func (e *evidence) disproves(wide scope.Scope, now time.Time) bool {
	served := e.lastGood(wide)
	older := slices.ContainsFunc(e.limits, func(l limit) bool {
		return l.scope != wide && wide.Covers(l.scope) && l.epoch <= served && l.until.After(now)
	})
	_, one := e.explains(wide, now)
	return older && !one
}

// explains returns how many points in a scope were refused since the last success in it, and
// reports whether they are enough to take them for one limit.
func (e *evidence) explains(wide scope.Scope, now time.Time) (n int, ok bool) {
	points, _ := e.refusedIn(wide, now)
	return len(points), len(points) >= enoughPoints && differ(points, wide)
}

// lastGood returns the epoch of the latest success in a scope.
func (e *evidence) lastGood(s scope.Scope) (epoch uint64) {
	for _, r := range e.points {
		if s.Covers(r.scope) {
			epoch = max(epoch, r.epoch)
		}
	}
	return epoch
}

// common returns the least scope that has a point which was just refused, and so many
// other limits that they seem to be one: limits that no later success in that scope has
// shown to be narrower. Points that differ in the replica alone count as one. Requests that
// were under way when the first of the limits was met do not say what came of the rest:
// enoughTrials of the refusals must be of requests that this process sent since. confirmed
// tells of scopes that are known to be limited as a whole.
func (e *evidence) common(at scope.Scope, now time.Time, confirmed func(scope.Scope) bool) (s scope.Scope, ok bool) {
	for _, other := range e.limits {
		wide := at.Join(other.scope)
		if wide == other.scope || sameLimit(wide, at) || (ok && wide.Fixed() <= s.Fixed()) {
			continue
		}
		points, trials := e.refusedIn(wide, now)
		if confirmed(wide) && len(points) >= enoughReplicas || len(points) >= enoughPoints && trials >= enoughTrials && differ(points, wide) {
			s, ok = wide, true
		}
	}
	return s, ok
}

// refusedIn returns the points in a scope that were refused since the last success in it
// was sent, and how many of those refusals are of requests that this process sent since the
// first of them was known.
func (e *evidence) refusedIn(wide scope.Scope, now time.Time) (points map[scope.Scope]bool, trials int) {
	points = make(map[scope.Scope]bool, len(e.limits))
	served, first := e.lastGood(wide), uint64(math.MaxUint64)
	counts := func(l limit) bool {
		return l.scope != wide && wide.Covers(l.scope) && l.epoch > served && l.until.After(now)
	}
	for _, l := range e.limits {
		if counts(l) {
			points[l.scope.Shared()] = true
			first = min(first, l.epoch)
		}
	}
	for _, l := range e.limits {
		if counts(l) && l.sent >= first {
			trials++
		}
	}
	return points, trials
}

// suspicion counts the limits that have something in common with a request that waits: the
// fewer, the more its success would say. Least suspicious are a route and a credential that
// were served since their last limit: where they are refused, it is not for what they are.
func (e *evidence) suspicion(w *Waiter) (n int) {
	for _, s := range [...]scope.Scope{{Route: w.Point.Route}, {Credential: w.Point.Credential}} {
		if s != (scope.Scope{}) && e.clean(s) {
			n -= maxPoints
		}
	}
	for _, l := range e.limits {
		if l.scope.Route == w.Point.Route {
			n++
		}
		if l.scope.Credential == w.Point.Credential {
			n++
		}
	}
	return n
}

// clean reports whether a scope was served since the last limit in it was met.
func (e *evidence) clean(s scope.Scope) bool {
	served := e.lastGood(s)
	return served > 0 && !slices.ContainsFunc(e.limits, func(l limit) bool { return s.Covers(l.scope) && l.epoch > served })
}

// everywhere returns until when a point is limited for other replicas than its own, if no
// success has shown since that it is not for all.
func (e *evidence) everywhere(at scope.Scope, now time.Time) (until time.Time, ok bool) {
	served := e.lastGood(at.Shared())
	for _, l := range e.limits {
		if l.scope.Shared() == at.Shared() && l.scope != at && l.epoch > served && l.until.After(now) {
			until, ok = later(until, l.until), true
		}
	}
	return until, ok
}

// sameLimit reports whether two scopes differ in the replica at most.
func sameLimit(a, b scope.Scope) bool { return a.Shared() == b.Shared() }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// servedBeside reports whether requests outside a gate's scope were served that were
// sent since its trouble began.
func (e *evidence) servedBeside(g *Gate) bool {
	return slices.ContainsFunc(e.points, func(r results) bool {
		return r.good > 0 && r.epoch >= g.opened && !g.scope.Covers(r.scope)
	})
}

// differ reports whether points differ enough in all that a scope leaves free: two
// credentials that are limited on several routes are no limit of all credentials.
func differ(points map[scope.Scope]bool, wide scope.Scope) bool {
	routes, credentials := make(map[string]bool), make(map[string]bool)
	for s := range points {
		routes[s.Route], credentials[s.Credential] = true, true
	}
	enough := func(n int, fixed string) bool { return fixed != "" || n == 1 || n >= enoughPoints }
	return enough(len(routes), wide.Route) && enough(len(credentials), wide.Credential)
}

// count returns how many requests were refused at the points that are meant, and how
// many there were.
func (e *evidence) count(meant func(scope.Scope) bool) (bad, n int) {
	for _, r := range e.points {
		if meant(r.scope) {
			bad += r.bad
			n += r.good + r.bad
		}
	}
	return bad, n
}

// refused returns the share of requests that were refused at the points that are meant.
// Of what other replicas have met nothing is known: half.
func (e *evidence) refused(meant func(scope.Scope) bool) float64 {
	bad, n := e.count(meant)
	if n == 0 {
		return 0.5
	}
	return float64(bad) / float64(n)
}

// contradicted reports whether a scope is not known to be limited as a whole, although so
// large a share of some of its requests is refused: of the points outside those, too many
// are served as often as they ask, or none of them tells.
func (e *evidence) contradicted(wide scope.Scope, inside func(scope.Scope) bool, refused float64) bool {
	well, judged, known := 0, 0, 0
	for _, r := range e.points {
		if !wide.Covers(r.scope) || inside(r.scope) {
			continue
		}
		known++
		chance := math.Pow(1-refused, float64(r.good)) // of so many successes in a row
		switch {
		case r.bad > 0:
			judged++
		case r.good > 0 && chance <= unlikely:
			judged++
			well++
		}
	}
	return known > 0 && float64(well) >= clean*float64(judged)
}
