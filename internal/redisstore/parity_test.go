package redisstore

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// register runs the scripts by a clock of the test's own, beside a Record in Go.
type register struct {
	t              *testing.T
	store          *Store
	rdb            redis.UniversalClient
	report, commit *redis.Script
	record         hold.Record
	calls          uint64
	now            int64 // ms
	us             int64 // beyond now
	first          any   // of the last reply, as it crossed
}

const (
	registerKey   = "https://api.example.com"
	registerClock = "p:{n}:clock" // in the slot of the records
)

func newRegister(t *testing.T, rdb redis.UniversalClient, now int64) *register {
	clocked := func(lua string) *redis.Script {
		return redis.NewScript(strings.ReplaceAll(lua, "redis.call('TIME')", "{redis.call('HGET', '"+registerClock+"', 's'), redis.call('HGET', '"+registerClock+"', 'us')}"))
	}
	s := &Store{opts: Options{Prefix: "p", Namespace: "n", MaxHold: 5 * time.Minute}, candidate: "secret"}
	return &register{t: t, store: s, rdb: rdb, report: clocked(inline(commonLua + reportLua)), commit: clocked(inline(commonLua + commitLua)), now: now}
}

// run runs a script, and returns what it answers.
func (r *register) run(script *redis.Script, args []any) (hold.Reply, snapshot) {
	r.t.Helper()
	ctx := r.t.Context()
	if err := r.rdb.HSet(ctx, registerClock, "s", r.now/1000, "us", r.now%1000*1000+r.us).Err(); err != nil {
		r.t.Fatal(err)
	}
	keys := r.store.keys(idOf(registerKey))
	raw, err := script.Run(ctx, r.rdb, keys, args...).Slice()
	if err != nil {
		r.t.Fatal(err)
	}
	r.first = raw[snapshotFields+1]
	reply, snap, err := r.store.decodeReply(raw)
	if err != nil {
		r.t.Fatalf("%v: %v", err, raw)
	}
	return reply, snap
}

func (r *register) time() time.Time { return time.UnixMicro(r.now*1000 + r.us) }

// stored returns the record as Redis keeps it.
func (r *register) stored() hold.Record {
	r.t.Helper()
	h, err := r.rdb.HGetAll(r.t.Context(), r.store.name(idOf(registerKey))).Result()
	if err != nil {
		r.t.Fatal(err)
	}
	if len(h) == 0 {
		return hold.Record{}
	}
	record, ok := decodeRecord([]any{h["round"], h["counts"], h["witnesses"], cmp.Or(h["memory"], "{}")})
	if !ok {
		r.t.Fatalf("the record can't be read: %v", h)
	}
	if record.Claim = h["claim"]; record.Claim != "" {
		claim := fields{rest: h["counts"]}
		claim.skip(16)
		record.ClaimUntil = claim.millis()
	}
	r.sameForPeople(h, record)
	return record
}

// sameForPeople compares the fields that people read with the packed ones.
func (r *register) sameForPeople(h map[string]string, record hold.Record) {
	r.t.Helper()
	state := record.Snapshot()
	until := max(state.Until.UnixMilli(), 0)
	want := fmt.Sprint(state.Phase, until, state.Attempts, record.Status, int64(record.LastFailure), registerKey)
	if got := fmt.Sprint(h["phase"], " ", h["until"], " ", h["attempts"], " ", h["status"], " ", h["timestamp"], h["key"]); got != want {
		r.t.Fatalf("people read %s, want %s", got, want)
	}
}

// same compares the two registers, field by field.
func (r *register) same(step string, inGo, inRedis hold.Reply) {
	r.t.Helper()
	if r.record.Rev == 0 && reflect.DeepEqual(r.stored(), hold.Record{}) {
		r.record.Totals.Inconsistent = false // of a key of which nothing else is known, it says nothing
	}
	got, want := r.stored(), r.record
	if want.Rev == 0 {
		want.Alarms = got.Alarms // written with the first report
	}
	if len(want.Witnesses) == 0 {
		want.Witnesses = nil
	}
	if got.Rev == 0 && got.Claim == "" && reflect.DeepEqual(got, hold.Record{}) {
		want = hold.Record{} // nothing was worth a record
	}
	if !reflect.DeepEqual(got, want) {
		r.t.Fatalf("%s:\nRedis %+v\nGo    %+v", step, got, want)
	}
	if inGo.Decide != inRedis.Decide || inGo.Due != inRedis.Due || inGo.Snapshot.Permits != inRedis.Snapshot.Permits || inGo.Snapshot.Phase != inRedis.Snapshot.Phase ||
		inGo.Snapshot.ServerDirected != inRedis.Snapshot.ServerDirected || inGo.Snapshot.Attempts != inRedis.Snapshot.Attempts || inGo.Snapshot.Witnesses != inRedis.Snapshot.Witnesses {
		r.t.Fatalf("%s:\nRedis %+v\nGo    %+v", step, inRedis, inGo)
	}
	var first int64
	if !inGo.Snapshot.First.IsZero() {
		first = inGo.Snapshot.First.Sub(r.time()).Microseconds()
	}
	if r.first != first {
		r.t.Fatalf("%s: the first turn comes in %v µs by Redis, in %v by Go", step, r.first, first)
	}
	if inGo.Decide && !reflect.DeepEqual(without(inGo.Record), without(inRedis.Record)) {
		r.t.Fatalf("%s, to be decided:\nRedis %+v\nGo    %+v", step, inRedis.Record, inGo.Record)
	}
}

// without leaves out what a decision does not need.
func without(r hold.Record) hold.Record {
	r.Claim, r.ClaimUntil = "", 0
	if len(r.Witnesses) == 0 {
		r.Witnesses = nil
	}
	if r.Rev == 0 {
		r.Alarms = hold.FirstAlarms()
	}
	return r
}

// The scripts and the Go register are the same register: whatever is reported and
// decided, in whatever order and by whatever clock, every field is the same.
func TestScripts_MatchTheRegisterInGo(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	seeds := uint64(40)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 13))
		if err := rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		r := newRegister(t, rdb, 1_700_000_000_000)
		jitter := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(max(d, 0)) + 1)) }
		phases := make(map[hold.Phase]int)
		for step := range 400 {
			r.now += []int64{0, 1, rng.Int64N(30), rng.Int64N(200), rng.Int64N(3000)}[rng.IntN(5)]
			r.us = rng.Int64N(1000)
			switch rng.IntN(60) {
			case 0:
				r.now += rng.Int64N(200_000)
			case 1:
				r.now -= rng.Int64N(40_000) // the clock is set back
			}
			r.walk(fmt.Sprintf("seed %d, step %d", seed, step), rng, jitter)
			phases[r.record.Phase]++
		}
		for _, p := range hold.Phases {
			if phases[p] == 0 && p != hold.Healthy && seed == seeds-1 {
				t.Logf("seed %d never came to %v", seed, p)
			}
		}
	}
}

func (r *register) walk(step string, rng *rand.Rand, jitter hold.Jitter) {
	replica := fmt.Sprintf("r%d", rng.IntN(10))
	rep := randomReport(rng, r.record.Generation)
	if rng.IntN(10) > 0 { // else it is a report that arrives again
		r.calls++
	}
	rep.Replica, rep.Call, rep.Version = replica, r.calls, hold.Version-rng.IntN(12)/11
	args := r.store.reportArgs(idOf(registerKey), registerKey, rep)
	inRedis, _ := r.run(r.report, args)
	if rep.Hint > 0 {
		rep.Hint += 2 * time.Millisecond // as it crosses
	}
	if rep.ResetIn > 0 {
		rep.ResetIn += 2 * time.Millisecond
	}
	inGo := r.record.Add(rep, r.time(), r.store.opts.MaxHold)
	r.same(fmt.Sprintf("%s, %+v", step, rep), inGo, inRedis)
	if !inGo.Decide || rng.IntN(20) == 0 { // the decider may die
		return
	}
	d := hold.Advance(inRedis.Record, rep, inRedis.Now, inRedis.MaxHold, jitter)
	r.now, r.us = r.now+[]int64{0, 1, 20, 300}[rng.IntN(4)], rng.Int64N(1000)
	inRedis, _ = r.run(r.commit, r.store.commitArgs(idOf(registerKey), registerKey, d))
	inGo = r.record.Commit(d, r.time())
	r.same(fmt.Sprintf("%s, %+v", step, d), inGo, inRedis)
}

// randomReport mixes everything that a replica may report.
func randomReport(rng *rand.Rand, generation uint64) hold.Report {
	r := hold.Report{Generation: generation, Lease: time.Second, Status: []int{429, 500, 503}[rng.IntN(3)]}
	if rng.IntN(10) == 0 {
		r.Generation--
	}
	some := func() int { return rng.IntN(6) * rng.IntN(2) }
	switch rng.IntN(6) {
	case 0:
		r.Good = some() * 3
	case 1:
		r.Bad, r.Refused = some(), some()
	case 2:
		r.Failures, r.Well = some()*2, rng.IntN(6) == 0
	case 3:
		r.Refusals, r.Returned = some(), rng.IntN(2)
	case 4:
		r.Good, r.Bad, r.Refused = some(), some(), some()
	}
	switch rng.IntN(8) {
	case 0:
		r.Hint, r.ServerDirected = time.Duration(2000+rng.IntN(20_000))*time.Millisecond, true
	case 1:
		r.Hint = time.Duration(rng.IntN(1900)) * time.Millisecond
	case 2:
		r.Hint, r.ServerDirected = time.Duration(rng.IntN(1900))*time.Millisecond, true
	}
	if rng.IntN(6) == 0 {
		r.Remaining, r.ResetIn = rng.IntN(200), time.Duration(1+rng.IntN(9000))*time.Millisecond
		r.NearExhaustion, r.Inconsistent = rng.IntN(2) == 0, rng.IntN(6) == 0
	}
	if rng.IntN(2) == 0 {
		longest := []time.Duration{1, time.Second, time.Hour}[rng.IntN(3)]
		r.Want, r.Patience = rng.IntN(8), time.Duration(rng.Int64N(int64(longest)))
	}
	return r
}
