package hold

import (
	"math/rand/v2"
	"time"
)

const ms = time.Millisecond

// uniform draws from [0, d].
func uniform(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(max(int64(d), 0) + 1))
}
