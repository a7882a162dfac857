package virtual

import (
	"fmt"
	"os"
	"regexp"
	"testing"
	"testing/synctest"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

func TestDbgRows(t *testing.T) {
	rows := regexp.MustCompile(os.Getenv("ROWS"))
	cont := regexp.MustCompile(os.Getenv("CONT"))
	for _, s := range fleet.Scenarios {
		if !rows.MatchString(s.Name) {
			continue
		}
		for _, c := range Contenders {
			if !cont.MatchString(c.Name) {
				continue
			}
			var runs []fleet.Result
			for seed := range uint64(3) {
				synctest.Test(t, func(t *testing.T) { runs = append(runs, run(t.Context(), s, c, seed)) })
			}
			r := row(s, c.Name, runs)
			oth, o99 := "", ""
			if r.Others != nil {
				oth, o99 = r.Others.exact(), r.OthersP99.figure()
			}
			rec := ""
			if r.Peak != nil {
				rec = "rec " + r.recovers() + " peak " + r.Peak.figure()
			}
			fmt.Printf("%-24s %-28s others %s p99 %s | refused %s failed %s used %s p50 %s p99 %s exch %s %s\n", s.Name, c.Name, oth, o99, r.Refused.count(), r.Failed.count(), r.Use.percent(), r.P50.figure(), r.P99.figure(), r.Exchanges.count(), rec)
		}
	}
}
