package redisstore

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/hostkey"
	"github.com/go-holdoff/holdoff/internal/scope"
	"github.com/redis/go-redis/v9"
)

// What a Store says to Redis and hears from it. Whatever comes from Redis
// may have been written by anybody: it is checked, and bounded, here.

//go:embed lua/common.lua
var commonLua string

//go:embed lua/report.lua
var reportLua string

//go:embed lua/commit.lua
var commitLua string

//go:embed lua/limit.lua
var limitLua string

//go:embed lua/clear.lua
var clearLua string

//go:embed lua/changes.lua
var changesLua string

//go:embed lua/read.lua
var readLua string

//go:embed lua/meta.lua
var metaLua string

//go:embed lua/poll.lua
var pollLua string

//go:embed lua/index.lua
var indexLua string

var (
	reportScript  = redis.NewScript(inline(commonLua + reportLua))
	commitScript  = redis.NewScript(inline(commonLua + commitLua))
	clearScript   = redis.NewScript(inline(commonLua + clearLua))
	changesScript = redis.NewScript(changesLua)
	readScript    = redis.NewScript(inline(commonLua + readLua))
	pollScript    = redis.NewScript(metaLua + pollLua)
	indexScript   = redis.NewScript(metaLua + indexLua)
	limitScript   = redis.NewScript(limitLua)
)

// wireVersion is that of the records and of what is published. Another one gets
// other keys: see name.
const wireVersion = "3"

// name is a key of ours in Redis. The braces make all of them one slot of a
// Cluster.
func (s *Store) name(part string) string {
	return NameOf(s.opts.Prefix, s.opts.Namespace, wireVersion, part)
}

// keys are those of report.lua and commit.lua, for the record with that id.
func (s *Store) keys(id string) []string {
	return []string{s.name(id), s.name("index"), s.name("meta"), s.name("changes")}
}

const (
	// maxScope bounds the form of a scope: four segments of a path, a tag and a replica
	// are shorter. What is longer is remembered by its digest.
	maxScope = 512
	// maxName bounds the names of records.
	maxName = hostkey.MaxLen + len(" ") + maxScope
)

// canonical is the name of a record in the form in which it crosses: of bounded length,
// and text. What a Transport hands over is both.
func canonical(record string) string {
	key, part := scope.Split(strings.ToValidUTF8(record, "\ufffd"))
	if len(part) > maxScope {
		part = hostkey.Bounded(part)
	}
	return scope.Record(hostkey.Bounded(key), part)
}

// idOf is how a canonical key is named in Redis: of one length, and without a character
// that means anything to anybody, whatever host name it was made of.
func idOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}

// replicaID is how a replica is named in Redis: without a character that the scripts
// put between names.
func replicaID(replica string) string {
	plain := func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' }
	if replica != "" && len(replica) <= 32 && strings.TrimFunc(replica, plain) == "" {
		return replica
	}
	return idOf(replica)
}

// reportArgs are the arguments of report.lua.
func (s *Store) reportArgs(id, key string, r hold.Report) []any {
	s.mu.Lock()
	var sent time.Duration
	if s.redisOffset > 0 {
		sent = s.redisOffset + time.Since(s.start)
	}
	cleared := s.cleared
	if !r.At.IsZero() && !r.At.After(s.clearedAt) {
		cleared = 0 // it may be of what was cleared
	}
	s.mu.Unlock()
	report := pack(int64(r.Call), int64(r.Version), sent.Milliseconds(), int64(r.Generation),
		count(r.Good), count(r.Bad), count(r.Refused), count(r.Returned),
		count(r.Failures), count(r.Refusals), flag(r.Well),
		int64(r.Status), upMillis(r.Hint), flag(r.ServerDirected), int64(r.Remaining), upMillis(r.ResetIn), flag(r.NearExhaustion), flag(r.Inconsistent), count(r.Want), r.Patience.Microseconds(), cleared)
	return []any{
		s.name("changes"), id, key, s.candidate, s.opts.MaxHold.Milliseconds(), MaxRecords, firstRound,
		replicaID(r.Replica), report,
	}
}

// commitArgs are the arguments of commit.lua.
func (s *Store) commitArgs(id, key string, d hold.Decision) []any {
	t := d.Seen
	memory, _ := json.Marshal(d.Memory) // numbers only: see hold.Memory
	totals := pack(int64(t.Good), int64(t.Bad), int64(t.Refused), int64(t.Returned),
		int64(t.Failures), int64(t.Refusals), int64(t.Hints),
		int64(t.RetryAt), int64(t.Remaining), int64(t.ResetAt), flag(t.NearExhaustion), flag(t.Inconsistent))
	rest := pack(d.MaxAge.Milliseconds(), int64(d.SeenHint), int64(d.SeenAttempts), int64(d.Attempts), int64(d.Status), int64(d.Failures),
		flag(d.NewRound), flag(d.Changed), count(d.Want), d.Patience.Microseconds())
	return []any{s.name("changes"), id, key, s.candidate, s.opts.MaxHold.Milliseconds(), packRound(d), totals, memory, rest}
}

// firstRound is the round of a record on which nothing was decided.
var firstRound = packRound(hold.Decision{Alarms: hold.FirstAlarms()})

// packRound packs the round of d as in common.lua. Began is when the record was read.
func packRound(d hold.Decision) string {
	a := d.Alarms
	return pack(int64(d.Rev), int64(d.Generation), int64(d.Phase), int64(d.At), int64(d.Until), int64(d.Permits), int64(d.Keep),
		int64(d.Memory.Level), int64(d.Memory.Rate*1e3), flag(d.Memory.ServerDirected), int64(d.Memory.Version),
		int64(a.Good), int64(a.Bad), int64(a.Refused), int64(a.Returned), int64(a.Failures), int64(a.Witnesses),
		flag(a.Refusals), int64(a.RefusalsFrom), flag(a.Near), flag(a.Spent), int64(d.Gap))
}

// upMillis rounds up, and by one more where there is anything: Redis' own
// milliseconds are rounded down, and a hint must not be undercut.
func upMillis(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return d.Milliseconds() + 2
}

// count bounds what one report adds to a counter.
func count(n int) int64 { return int64(min(max(n, 0), hold.MaxReported)) }

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// errFull is why a key is not shared though Redis answers.
var errFull = hold.NotShared("holdoff: there are too many records in Redis")
