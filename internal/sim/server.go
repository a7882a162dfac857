package sim

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// A mood is how the server of a key answers.
type mood int

const (
	well       mood = iota
	throttling      // refuses everything, and says for how long
	failing         // fails, with no hint
	hinting         // fails, with a hint below MinHold
	bucket          // refuses the surplus of a token bucket
	quota           // refuses what is beyond a quota, and announces it
	silent          // does not answer
	moods
)

func (m mood) String() string {
	return [...]string{"well", "throttling", "failing", "hinting", "bucket", "quota", "silent"}[m]
}

// server is the server of one key.
type server struct {
	sim   *Sim
	key   int
	mood  mood
	share float64       // of requests that meet the mood
	hint  time.Duration // that is given while throttling or hinting
	rate  float64       // per second, of the bucket or the quota
	until time.Time     // when a window of the quota ends
	level float64       // what is left in the bucket or of the quota
	at    time.Time     // when level was right
}

// window is the length of a quota's window.
const window = 3 * time.Second

// answer returns what comes of a request that arrives now.
func (v *server) answer() hold.Result {
	now := v.sim.now
	good := hold.Result{Lesson: hold.Good}
	if v.mood == well || !v.sim.chance(v.share) {
		return good
	}
	switch v.mood {
	case throttling:
		return hold.Result{Lesson: hold.Refused, Status: 429, Hint: v.hint}
	case failing:
		return hold.Result{Lesson: hold.Failed, Status: 500}
	case hinting:
		return hold.Result{Lesson: hold.Failed, Status: 503, Hint: v.hint}
	case bucket:
		v.level = min(v.level+v.rate*now.Sub(v.at).Seconds(), max(v.rate/5, 1))
		v.at = now
		if v.level < 1 {
			return hold.Result{Lesson: hold.Refused, Status: 429, Hint: v.hint}
		}
		v.level--
		return good
	case quota:
		if !now.Before(v.until) {
			v.until, v.level = now.Add(window), v.rate*window.Seconds()
		}
		good.HasQuota = true
		good.Quota = hold.Quota{ResetAt: v.until}
		if v.level < 1 {
			return hold.Result{Lesson: hold.Refused, Status: 429, Hint: v.until.Sub(now)}
		}
		v.level--
		good.Remaining = int(v.level)
		good.NearExhaustion = v.level < v.rate/2 // half a second's worth
		return good
	}
	return hold.Result{Lesson: hold.Unreachable}
}
