package limit

import "time"

// Distrust is for how long a limit is ignored that was found not to be enforced, and for
// how long one is not tried again that was found to be.
const Distrust = 10 * time.Minute

// longWait is how long a limit must hold a request for a trial to be worth a refusal.
const longWait = time.Second

// doubt is whether a server enforces what it announces. Where a limit is used up, one
// request per window is sent all the same; if it is served, the numbers are ignored.
type doubt struct {
	ignored  time.Time // until then, it is not enforced
	enforced time.Time // until then, it is known to be enforced
	tried    time.Time // when the next trial may be
}

// Ignored reports whether the limit holds no request, since it is not enforced.
func (a *Account) Ignored(now time.Time) bool { return a.doubt.ignored.After(now) }

// Try reports whether a request may be sent although the account has not what it costs,
// to find out whether the server enforces the limit.
func (a *Account) Try(cost float64, now time.Time) bool {
	if a.known || a.doubt.enforced.After(now) || a.doubt.tried.After(now) {
		return false
	}
	wait := a.Wait(cost, 0, now)
	if wait <= longWait {
		return false
	}
	a.doubt.tried = now.Add(max(wait, a.refill.length))
	return true
}

// Refused notes that the server has refused a request for the sake of this limit.
func (a *Account) Refused(now time.Time) {
	a.doubt.enforced, a.doubt.ignored = now.Add(Distrust), time.Time{}
}

// ServedBeyond notes that a request was served for which the limit had not enough, by the
// server's own numbers.
func (a *Account) ServedBeyond(now time.Time) {
	if !a.doubt.enforced.After(now) {
		a.doubt.ignored = now.Add(Distrust)
	}
}
