package redisstore

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// recordFields is how many strings answer in common.lua makes of a record.
const recordFields = 10

// decodeRecord reads a record for a replica that is to decide.
func decodeRecord(raw []any) (hold.Record, bool) {
	if len(raw) != recordFields {
		return hold.Record{}, false
	}
	var text [recordFields]string
	for i, v := range raw {
		text[i], _ = v.(string)
	}
	var f fields
	var r hold.Record
	f.open(text[0])
	r.Rev, r.Generation = uint64(f.next()), uint64(f.next())
	phase, ok := phaseOf(f.word())
	r.Phase, r.Began, r.Until, r.Permits, r.Keep = phase, f.millis(), f.millis(), int(f.next()), f.millis()
	f.skip(4) // level, rate, directed and version are in the memory as well
	a := &r.Alarms
	a.Good, a.Bad, a.Refused, a.Returned = int(f.next()), int(f.next()), int(f.next()), int(f.next())
	a.Failures, a.Witnesses, a.Refusals, a.RefusalsFrom = int(f.next()), int(f.next()), f.next() > 0, f.millis()
	a.Near, a.Spent = f.next() > 0, f.next() > 0
	f.open(text[1])
	t := &r.Totals
	t.Good, t.Bad, t.Refused = int(f.next()), int(f.next()), int(f.next())
	t.Returned, t.Failures, t.Refusals, t.Hints = int(f.next()), int(f.next()), int(f.next()), int(f.next())
	t.RetryAt, t.Remaining, t.ResetAt = f.millis(), int(f.next()), f.millis()
	t.NearExhaustion, t.Inconsistent = f.next() > 0, f.next() > 0
	f.open(strings.Join([]string{text[2], text[3], text[4]}, " "))
	r.Granted, r.DeniedAt, r.HintUntil, r.HintAt = int(f.next()), f.millis(), f.millis(), f.millis()
	for witness := range strings.SplitSeq(text[5], ",") {
		if replica, call, found := strings.Cut(witness, ":"); found && len(r.Witnesses) < maxWitnesses {
			if r.Witnesses == nil {
				r.Witnesses = make(map[string]uint64)
			}
			n, _ := strconv.ParseUint(call, 10, 64)
			r.Witnesses[replica] = n
		}
	}
	f.open(strings.Join([]string{text[6], text[7], text[8]}, " "))
	r.Attempts, r.Status, r.LastFailure = int(f.next()), int(f.next()), f.millis()
	if err := json.Unmarshal([]byte(text[9]), &r.Memory); err != nil {
		r.Memory = hold.Memory{} // damaged: the machine takes what it can of the round
	}
	return r, ok && !f.bad
}

// maxWitnesses bounds what is read of a list that anybody may have written.
const maxWitnesses = 8

// fields reads the words of a string that a script has packed.
type fields struct {
	rest string
	bad  bool
}

func (f *fields) open(s string) { f.rest = s }

func (f *fields) word() string {
	word, rest, _ := strings.Cut(f.rest, " ")
	f.rest = rest
	return word
}

func (f *fields) skip(n int) {
	for range n {
		f.word()
	}
}

func (f *fields) next() int64 {
	n, err := strconv.ParseInt(f.word(), 10, 64)
	if err != nil || n < 0 || n > 1<<53 {
		f.bad = true
		return 0
	}
	return n
}

func (f *fields) millis() hold.Millis { return hold.Millis(f.next()) }
