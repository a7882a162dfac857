package admission

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// Which requests draw on one limit, as far as answers have said so: the name that the
// server gives to the limit of a route, and whose answers carry the numbers of a quota.

// maxNames bounds the routes of which a key remembers the limit that they draw on.
const maxNames = 256

// mostIgnored is how many of a key's answers teach nothing for each that is looked at, where
// the last ones have taught nothing. It is one less than a power of 2.
const mostIgnored = 63

// MayLearn reports whether an answer of a key without trouble is worth a look: each of the
// first ones, and ever fewer while they say nothing new.
func (k *Key) MayLearn() bool { return rand.Uint32()&k.ignored.Load() == 0 }

// Learn takes in what an answer of a key without trouble says of the limit of its route,
// so that it is known before the limit is met.
func (k *Key) Learn(o Outcome) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.learn(&o) {
		k.ignored.Store(0)
		return
	}
	k.ignored.Store(min(2*k.ignored.Load()+1, mostIgnored))
}

// learn takes in what an answer says of the limit that its request draws on, and reports
// whether that is news.
func (k *Key) learn(o *Outcome) (news bool) {
	news = k.learnName(o)
	if !o.HasQuota || o.QuotaOf != "" || o.Inconsistent {
		return news
	}
	switch at := k.point(o.At).Shared(); {
	case k.counted == nil:
		at = at.Clone()
		k.counted = &at
	case !k.counted.Covers(at):
		*k.counted = k.counted.Join(at)
	default:
		return news
	}
	return true
}

// learnName remembers the name that a server gave to the limit of a route: it says more
// than the route. Routes with one name have one limit. An answer may speak of several
// limits; one that refuses, or that says that little is left, speaks of the one that is met.
func (k *Key) learnName(o *Outcome) (news bool) {
	if o.Limit == "" || o.At.Route == "" {
		return false
	}
	name, met := o.Limit, o.Lesson == hold.Refused || o.Lesson == hold.Failed
	if o.HasQuota && o.NearExhaustion && o.QuotaOf != "" {
		name, met = o.QuotaOf, true
	}
	known := k.names[o.At.Route]
	if known != "" && !met {
		return false
	}
	if known == "" && len(k.names) >= maxNames {
		if !met {
			return false
		}
		for route := range k.names { // a limit that is met is news; any other makes room
			delete(k.names, route)
			break
		}
	}
	if k.names == nil {
		k.names = make(map[string]string)
	}
	k.names[strings.Clone(o.At.Route)] = scope.Named(name)
	return known == ""
}

// point returns where a request stands: with this process's name, and with that of its
// limit where the server has named it. Where the key has one scope, it stands nowhere in
// particular.
func (k *Key) point(at scope.Scope) scope.Scope {
	if at == (scope.Scope{}) {
		return at
	}
	if name := k.names[at.Route]; name != "" {
		at.Route = name
	}
	at.Replica = k.replica()
	return at
}

// takeQuota takes in the numbers of a quota that is not one of the whole key. With a name,
// it is that limit, of the credential that met it; without one, it is what all those
// requests have in common whose answers had its numbers.
func (k *Key) takeQuota(o *Outcome, now time.Time) {
	if !o.HasQuota {
		return
	}
	s := k.point(o.At).Shared()
	if o.QuotaOf == "" && k.counted != nil {
		s = *k.counted
	}
	if o.QuotaOf == "" && o.Inconsistent {
		k.counted = nil
	}
	if s == (scope.Scope{}) {
		return
	}
	o.HasQuota = false
	g := k.gate(s)
	if g == nil && o.NearExhaustion {
		g = k.open(s)
	}
	if g != nil {
		g.take(hold.Result{Permit: hold.Permit{Generation: g.hold.Generation()}, Quota: o.Quota, HasQuota: true}, now)
	}
}
