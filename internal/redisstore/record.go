package redisstore

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// recordFields is how many strings answer in common.lua makes of a record: round,
// counts, witnesses and memory.
const recordFields = 4

// decodeRecord reads a record for a replica that is to decide.
func decodeRecord(raw []any) (hold.Record, bool) {
	if len(raw) != recordFields {
		return hold.Record{}, false
	}
	var text [recordFields]string
	for i, v := range raw {
		text[i], _ = v.(string)
	}
	var r hold.Record
	f := fields{rest: text[0] + text[1]}
	r.Rev, r.Generation = uint64(f.next()), uint64(f.next())
	r.Phase, r.Began, r.Until, r.Permits, r.Keep = hold.Phase(f.count()), f.millis(), f.millis(), f.count(), f.millis()
	f.skip(4) // level, rate, directed and version are in the memory as well
	a := &r.Alarms
	a.Good, a.Bad, a.Refused, a.Returned, a.Failures, a.Witnesses = f.count(), f.count(), f.count(), f.count(), f.count(), f.count()
	a.Refusals, a.RefusalsFrom, a.Near, a.Spent = f.flag(), f.millis(), f.flag(), f.flag()
	r.Gap = time.Duration(f.next())
	t := &r.Totals
	t.Good, t.Bad, t.Refused, t.Returned = f.count(), f.count(), f.count(), f.count()
	t.Failures, t.Refusals, t.Hints, t.RetryAt = f.count(), f.count(), f.count(), f.millis()
	t.Remaining, t.ResetAt, t.NearExhaustion, t.Inconsistent = f.count(), f.millis(), f.flag(), f.flag()
	r.Granted, r.DeniedAt, r.HintUntil, r.HintAt = f.count(), f.millis(), f.millis(), f.millis()
	f.skip(1) // the claim's end
	r.Attempts, r.Status, r.LastFailure = f.count(), f.count(), f.millis()
	f.skip(1) // expiry
	r.Next = hold.Micros(f.next())
	for witness := range strings.SplitSeq(text[2], ",") {
		if replica, call, found := strings.Cut(witness, ":"); found && len(r.Witnesses) < maxWitnesses {
			if r.Witnesses == nil {
				r.Witnesses = make(map[string]uint64)
			}
			n, _ := strconv.ParseUint(call, 10, 64)
			r.Witnesses[replica] = n
		}
	}
	if err := json.Unmarshal([]byte(text[3]), &r.Memory); err != nil {
		r.Memory = hold.Memory{} // damaged: the machine takes what it can of the round
	}
	return r, !f.bad && f.rest == "" && int(r.Phase) < len(hold.Phases)
}

// maxWitnesses bounds what is read of a list that anybody may have written.
const maxWitnesses = 8

func (f *fields) millis() hold.Millis { return hold.Millis(f.next()) }
