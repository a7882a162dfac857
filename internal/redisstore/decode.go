package redisstore

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// How replies of the scripts are read. Whatever Redis sends, the result is valid or none.

const (
	// heartbeatFields is the length of a heartbeat: see poll.lua.
	heartbeatFields = 4
	// snapshotFields is the length of a snapshot: see common.lua.
	snapshotFields = 15
	// replyFields are those of a reply without a record: a snapshot, the permits, when the
	// first may be used, what is due, and whether something was repaired.
	replyFields = snapshotFields + 4
)

// snapshot is a state as it crosses.
type snapshot struct {
	id, key string
	epoch   string
	seq     uint64
	clock   time.Duration // Redis' TIME since 1970
	cleared int64         // the number of the clear that the change is; 0 where it is none
	state   hold.Snapshot
}

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
