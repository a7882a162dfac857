package holdoff

import (
	"net/http"
	"time"
)

// maxQuota is what a larger number is taken for.
const maxQuota = 1e9

// remaining returns what the server says to remain of its tightest quota, and
// after what time it is refilled.
func remaining(h http.Header, now time.Time) (left int, refill time.Duration, ok bool) {
	if cached(h) {
		return 0, 0, false
	}
	eachLimit(h, func(n int64, after time.Duration) {
		if n = min(n, maxQuota); !ok || int(n) < left {
			left, refill, ok = int(n), max(after, time.Second), true
		}
	})
	if ok {
		return left, refill, true
	}
	for _, f := range limitFields {
		if len(h[f.remaining]) != 1 || len(h[f.reset]) != 1 {
			continue
		}
		n, ok := f.left(h)
		if !ok {
			continue
		}
		if after, ok := f.refill(h, serverTime(h, now)); ok {
			return int(min(n, maxQuota)), max(after, time.Second), true
		}
	}
	return 0, 0, false
}
