package redisstore

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
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

// snapshot is a state as it crosses.
type snapshot struct {
	id, key string
	epoch   string
	seq     uint64
	clock   time.Duration // Redis' TIME since 1970
	cleared int64         // the number of the clear that the change is; 0 where it is none
	state   hold.Snapshot
}

// errFull is why a key is not shared though Redis answers.
var errFull = hold.NotShared("holdoff: there are too many records in Redis")

var errForm = errors.New("holdoff: Redis sent a reply of an unknown form")

// decodeReply reads what report.lua and commit.lua return.
func (s *Store) decodeReply(raw []any) (hold.Reply, snapshot, error) {
	if len(raw) == 1 && raw[0] == "full" {
		return hold.Reply{}, snapshot{}, errFull
	}
	const head = snapshotFields
	if len(raw) < replyFields {
		return hold.Reply{}, snapshot{}, errForm
	}
	snap, ok := decodeSnapshot(raw[:head], s.opts.MaxHold)
	var granted number
	reply := hold.Reply{Snapshot: snap.state, Now: time.UnixMilli(snap.clock.Milliseconds()), MaxHold: s.opts.MaxHold}
	reply.Snapshot.Permits = int(granted.read(raw[head], hold.MaxPermits))
	reply.Snapshot.First = time.Now().Add(time.Duration(granted.read(raw[head+1], 1<<53)) * time.Microsecond)
	reply.Decide, reply.Due = raw[head+2] == "decide", raw[head+2] == "due"
	if !ok || granted.bad {
		return hold.Reply{}, snapshot{}, errForm
	}
	if reply.Decide {
		if reply.Record, ok = decodeRecord(raw[replyFields:]); !ok {
			return hold.Reply{}, snapshot{}, errForm
		}
	}
	return reply, snap, nil
}

// decodePayload reads the text of a published change: the version, the id, and the
// fields of a snapshot, of which the last, the key, may hold spaces. A heartbeat has the
// version, epoch, sequence and time alone, and no id.
func decodePayload(payload string, maxHold time.Duration) (snapshot, bool) {
	parts := strings.SplitN(payload, " ", 2+snapshotFields)
	if len(parts) == heartbeatFields && parts[0] == wireVersion {
		var n number
		beat := snapshot{epoch: parts[1], seq: uint64(n.read(parts[2], 1<<seqBits-1)), clock: time.Duration(n.read(parts[3], 1<<43)) * time.Millisecond}
		return beat, !n.bad
	}
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

const (
	// heartbeatFields is the length of a heartbeat: see poll.lua.
	heartbeatFields = 4
	// snapshotFields is the length of a snapshot: see common.lua.
	snapshotFields = 15
	// replyFields are those of a reply without a record: a snapshot, the permits, when the
	// first may be used, what is due, and whether something was repaired.
	replyFields = snapshotFields + 4
)

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
	s.ServerDirected = n.read(fields[7], 1) == 1
	s.Attempts = int(n.read(fields[8], 1<<53))
	age := max(time.Duration(n.signed(fields[9], 1<<43)), 0) * time.Millisecond
	s.Status = int(n.read(fields[10], 1<<31))
	s.Witnesses = int(n.read(fields[11], 1<<31))
	s.Rate = float64(n.read(fields[12], 1<<53)) / 1e3
	snap.cleared = n.read(fields[13], 1<<53)
	key, ok3 := fields[14].(string)
	snap.key = key
	var ok4 bool
	s.Phase, ok4 = phaseOf(phase)
	if n.bad || !ok1 || !ok2 || !ok3 || !ok4 || len(key) > maxName {
		return snapshot{}, false
	}
	now := time.Now()
	if s.Phase != hold.Healthy {
		s.Until = now.Add(min(left, maxHold))
	}
	if s.Attempts > 0 {
		s.Last = now.Add(-age)
	}
	return snap, true
}

func phaseOf(s string) (hold.Phase, bool) {
	for _, p := range hold.Phases {
		if s == p.String() {
			return p, true
		}
	}
	return 0, false
}

// metaFields is the length of the head of what poll.lua and index.lua return.
const metaFields = 5

// metaData are what is known of the data of a namespace.
type metaData struct {
	epoch   string
	seq     uint64
	clock   time.Duration // Redis' TIME since 1970
	secret  string
	cleared int64 // the number of the last clear
}

// decodeMeta reads that head.
func decodeMeta(reply []any) (m metaData, ok bool) {
	if len(reply) < metaFields {
		return m, false
	}
	var n number
	m.epoch, ok = reply[0].(string)
	m.seq = uint64(n.read(reply[1], 1<<seqBits-1))
	m.clock = time.Duration(n.read(reply[2], 1<<43)) * time.Millisecond
	m.secret, _ = reply[3].(string)
	m.cleared = n.read(reply[4], 1<<53)
	return m, ok && !n.bad
}

// decodeIDs reads the rest of what index.lua returns.
func decodeIDs(reply []any) []string {
	var ids []string
	for _, v := range reply[metaFields:] {
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
