package holdoff

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/hostkey"
	"github.com/redis/go-redis/v9"
)

// What a RedisStore says to Redis and hears from it. Whatever comes from Redis
// may have been written by anybody: it is checked, and bounded, here.

//go:embed lua/exchange.lua
var exchangeLua string

//go:embed lua/poll.lua
var pollLua string

//go:embed lua/index.lua
var indexLua string

//go:embed lua/read.lua
var readLua string

var (
	exchangeScript = redis.NewScript(constants() + exchangeLua)
	pollScript     = redis.NewScript(pollLua)
	indexScript    = redis.NewScript(indexLua)
	readScript     = redis.NewScript(readLua)
)

// constants are those of hold.go and pace.go, for exchange.lua. Times are in ms.
func constants() string {
	var lua strings.Builder
	for _, c := range hold.Constants() {
		if d, ok := c.Value.(time.Duration); ok {
			c.Value = d.Milliseconds()
		}
		fmt.Fprintf(&lua, "local %s = %v\n", c.Name, c.Value)
	}
	return lua.String()
}

// wireVersion is that of the records and of what is published. Another one gets
// other keys: see name.
const wireVersion = "1"

// name is a key of ours in Redis. The braces make all of them one slot of a
// Cluster.
func (s *RedisStore) name(part string) string {
	return s.opts.Prefix + ":{" + s.opts.Namespace + "}:v" + wireVersion + ":" + part
}

// canonical is a key in the form in which it crosses: of bounded length, and
// text. What a Transport hands over is bounded already.
func canonical(key string) string {
	return hostkey.Bounded(strings.ToValidUTF8(key, "\ufffd"))
}

// idOf is how a canonical key is named in Redis: of one length, and without a character
// that means anything to anybody, whatever host name it was made of.
func idOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}

func newReplica() string { return strconv.FormatUint(rand.Uint64(), 36) }

// args are the arguments of exchange.lua.
func (s *RedisStore) args(id, key string, n News) []any {
	s.mu.Lock()
	var sent time.Duration
	if s.clock > 0 {
		sent = s.clock + time.Since(s.born)
	}
	s.mu.Unlock()
	return []any{
		s.name("changes"), id, key,
		s.replica, s.calls.Add(1), sent.Milliseconds(),
		n.Generation, n.Good, n.Bad, n.Refused, n.Returned, n.Failures, n.Status,
		upMillis(n.Hint), flag(n.Word), flag(n.Well), n.Want, max(upMillis(n.Lease), 1),
		strconv.FormatFloat(rand.Float64(), 'f', 6, 64), s.opts.MaxHold.Milliseconds(), maxRecords,
		n.Refusals, n.Left, upMillis(n.Refill), flag(n.Lies), flag(n.Near), n.GoodRetries, n.RefusedRetries,
	}
}

// upMillis rounds up, and by one more where there is anything: Redis' own
// milliseconds are rounded down, and a hint must not be undercut.
func upMillis(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return d.Milliseconds() + 2
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// snapshot is a state as it crosses.
type snapshot struct {
	id, key string
	epoch   string
	seq     uint64
	clock   time.Duration // Redis' TIME since 1970
	state   State
}

// Why a key is not shared though Redis answers.
var (
	errForeign = errors.New("holdoff: the record in Redis is not ours, or of another version")
	errFull    = errors.New("holdoff: there are too many records in Redis")
)

// decodeReply reads what exchange.lua returns.
func decodeReply(reply []any, maxHold time.Duration) (snapshot, int, error) {
	if len(reply) == 1 && reply[0] == "foreign" {
		return snapshot{}, 0, errForeign
	}
	if len(reply) == 1 && reply[0] == "full" {
		return snapshot{}, 0, errFull
	}
	if len(reply) < 2 || reply[0] != "ok" {
		return snapshot{}, 0, errors.New("holdoff: Redis answered in an unknown form")
	}
	snap, ok := decodeSnapshot(reply[1:len(reply)-1], maxHold)
	var granted number
	granted.read(reply[len(reply)-1], hold.MaxPermits)
	if !ok || granted.bad {
		return snapshot{}, 0, errors.New("holdoff: Redis answered in an unknown form")
	}
	return snap, int(granted.n), nil
}

// decodePayload reads what exchange.lua publishes: the version, the id, and the
// fields of a snapshot, of which the last, the key, may hold spaces.
func decodePayload(payload string, maxHold time.Duration) (snapshot, bool) {
	parts := strings.SplitN(payload, " ", 2+snapshotFields)
	if len(parts) != 2+snapshotFields || parts[0] != wireVersion || len(parts[1]) != 32 {
		return snapshot{}, false
	}
	fields := make([]any, snapshotFields)
	for i, part := range parts[2:] {
		fields[i] = part
	}
	snap, ok := decodeSnapshot(fields, maxHold)
	snap.id = parts[1]
	return snap, ok && idOf(snap.key) == snap.id
}

// snapshotFields is the length of a snapshot: see read.lua.
const snapshotFields = 14

func decodeSnapshot(fields []any, maxHold time.Duration) (snapshot, bool) {
	if len(fields) != snapshotFields {
		return snapshot{}, false
	}
	var snap snapshot
	var phase string
	var n number
	epoch, ok1 := fields[0].(string)
	snap.epoch = epoch
	snap.seq = uint64(n.read(fields[1], 1<<seqBits-1))
	snap.clock = time.Duration(n.read(fields[2], 1<<43)) * time.Millisecond
	phase, ok2 := fields[3].(string)
	left := time.Duration(n.signed(fields[4], 1<<43)) * time.Millisecond
	s := &snap.state
	s.Generation = uint64(n.read(fields[5], 1<<53))
	s.Level = int(n.read(fields[6], 1<<31))
	s.Word = n.read(fields[7], 1) == 1
	s.Attempts = int(n.read(fields[8], 1<<53))
	age := max(time.Duration(n.signed(fields[9], 1<<43)), 0) * time.Millisecond
	s.Status = int(n.read(fields[10], 1<<31))
	s.Witnesses = int(n.read(fields[11], 1<<31))
	s.Rate = float64(n.read(fields[12], 1<<53)) / 1e3
	key, ok3 := fields[13].(string)
	snap.key = key
	var ok4 bool
	s.Phase, ok4 = phaseOf(phase)
	if n.bad || !ok1 || !ok2 || !ok3 || !ok4 || len(key) > hostkey.MaxLen {
		return snapshot{}, false
	}
	now := time.Now()
	if s.Phase != Healthy {
		s.Until = now.Add(min(left, maxHold))
	}
	if s.Attempts > 0 {
		s.Last = now.Add(-age)
	}
	return snap, true
}

func phaseOf(s string) (Phase, bool) {
	for _, p := range hold.Phases {
		if s == p.String() {
			return p, true
		}
	}
	return 0, false
}

// decodeMeta reads the head of what poll.lua and index.lua return.
func decodeMeta(reply []any) (epoch string, seq uint64, clock time.Duration, ok bool) {
	if len(reply) < 3 {
		return "", 0, 0, false
	}
	var n number
	epoch, ok = reply[0].(string)
	seq = uint64(n.read(reply[1], 1<<seqBits-1))
	clock = time.Duration(n.read(reply[2], 1<<43)) * time.Millisecond
	return epoch, seq, clock, ok && !n.bad
}

// decodeIDs reads the rest of what index.lua returns.
func decodeIDs(reply []any) []string {
	var ids []string
	for _, v := range reply[3:] {
		if id, ok := v.(string); ok && len(id) == 32 {
			ids = append(ids, id)
		}
	}
	return ids
}

// number reads integers, and remembers whether one was none or out of bounds.
type number struct {
	n   int64
	bad bool
}

// read reads an integer in [0, limit].
func (n *number) read(v any, limit int64) int64 {
	if n.signed(v, limit) < 0 {
		n.n, n.bad = 0, true
	}
	return n.n
}

// signed reads an integer in [-limit, limit].
func (n *number) signed(v any, limit int64) int64 {
	n.n = 0
	switch v := v.(type) {
	case string:
		parsed, err := strconv.ParseInt(v, 10, 64)
		n.n, n.bad = parsed, n.bad || err != nil
	case int64:
		n.n = v
	default:
		n.bad = true
	}
	if n.n > limit || n.n < -limit {
		n.n, n.bad = 0, true
	}
	return n.n
}
