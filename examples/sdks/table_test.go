package sdks_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// failure is how a server that isn't well answers.
type failure struct {
	status int
	header http.Header
}

var failures = map[string]failure{
	"503": {http.StatusServiceUnavailable, nil},
	"429": {http.StatusTooManyRequests, http.Header{"Retry-After": {"1"}}},
}

// settings are the columns of the tables.
var settings = []struct {
	name string
	setting
}{
	{"alone, off", setting{}},
	{"alone, on", setting{own: true}},
	{"holdoff, off", setting{holdoff: 4}},
	{"holdoff, on", setting{holdoff: 4, own: true}},
	{"`MaxAttempts: 1`, on", setting{holdoff: 1, own: true}},
	{"**as below**", setting{holdoff: 4, copied: true}},
}

// table measures every SDK against a server that fails in one way.
func table(t *testing.T, f failure) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	names := []string{"SDK", "call"}
	for _, set := range settings {
		names = append(names, set.name)
	}
	line(names)
	line(strings.Split(strings.Repeat("---,", len(names)-1)+"---", ","))
	for _, s := range all {
		for i := range 2 {
			cells := []string{s.name, ""}
			for _, set := range settings {
				if s.bare && set.own {
					cells = append(cells, "")
					continue
				}
				var cell string
				cells[1], cell = measure(t, s, i, f, set.setting)
				cells = append(cells, cell)
			}
			line(cells)
		}
	}
	return b.String()
}

// counted is how many sends there were, as far as it is the same each time: beyond
// four times three it depends on jitter, holds and the retry budget.
func counted(sends int) string {
	if sends > 12 {
		return "> 12"
	}
	return fmt.Sprint(sends)
}

// measure makes a call (the read, or else the write) of a server that never
// recovers, and of one that does so after two failures.
func measure(t *testing.T, s sdk, write int, f failure, set setting) (name, cell string) {
	for _, bad := range []int{1 << 30, 2} {
		synctest.Test(t, func(t *testing.T) {
			server := serve(t, func(n int, _ *http.Request) answer {
				header := http.Header{"Content-Type": {"application/json"}}
				maps.Copy(header, s.header)
				if n >= bad {
					return answer{http.StatusOK, header, s.ok}
				}
				maps.Copy(header, f.header)
				if f.status == http.StatusTooManyRequests {
					return answer{f.status, header, cmp.Or(s.busy, s.down)}
				}
				return answer{f.status, header, s.down}
			})
			var c [2]call
			c[0], c[1] = s.open(t, server, set)
			err := c[write].do(context.Background())
			switch name = c[write].name; {
			case bad > 2 && err == nil:
				t.Errorf("%s, %s: no error of a server that is down", s.name, name)
			case bad > 2:
				cell = counted(server.sends())
			case err == nil:
				cell += " ✓"
			}
		})
	}
	return name, cell
}
