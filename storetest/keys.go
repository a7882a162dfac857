package storetest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff"
)

// Names of keys, and calls that end early.
var keyRules = []rule{
	{"keys are apart, whatever their names", func(r *rig) {
		base := r.key
		names := []string{
			base, base + "/", base + ":443", strings.ToUpper(base), base + "%20", base + "\n", base + "\x00", base + "\x00x", base + "{}", base + "{x}",
			base + "*", base + "?", base + "'", base + `"`, base + "\\", base + "%s", base + "ü", base + "\u202e", base + ":meta", base + ",", base + "a:1",
		}
		for i, name := range names {
			r.key = name
			if got := r.pick(i).report(report{}).Snapshot; got.Phase != holdoff.Healthy {
				r.fatalf("%q is held because of another key: %+v", name, got)
			}
			f := r.pick(i + 1).watch()
			r.pick(i).report(report{Hint: time.Duration(20+i) * time.Second, ServerDirected: true, Status: 400 + i})
			s := f.phase(holdoff.Held)
			f.stop()
			if left := time.Until(s.Until) - time.Duration(20+i)*time.Second; left.Abs() > time.Second || s.Status != 400+i {
				r.fatalf("%q is held as another key is: %+v", name, s)
			}
		}
		for i, name := range names {
			r.key = name
			if got := r.pick(i + 1).report(report{}).Snapshot; got.Phase != holdoff.Held || got.Status != 400+i || got.Attempts != 1 {
				r.fatalf("%q is held as another key is: %+v", name, got)
			}
		}
	}},
	{"a name that is empty, long or no text is a key like any other", func(r *rig) {
		base := r.key
		for i, name := range []string{"", base + "\xff\xfe", base + strings.Repeat("x", 1<<16)} {
			r.key = name
			r.pick(i).hint(20 * time.Second)
			if got := r.pick(i + 1).report(report{Want: 1}).Snapshot; got.Phase != holdoff.Held {
				r.fatalf("a key of %d bytes is not held: %+v", len(name), got)
			}
		}
	}},
	{"many keys are held at once", func(r *rig) {
		base := r.key
		key := func(i int) *rig {
			mine := &rig{key: fmt.Sprintf("%s/%d", base, i)}
			mine.a, mine.b = &replica{rig: mine, store: r.a.store, name: "a"}, &replica{rig: mine, store: r.b.store, name: "b"}
			return mine
		}
		const workers, each = 8, 25
		r.together(workers, func(w int) {
			for i := range each {
				key(w*each + i).pick(i).hint(20 * time.Second)
			}
		})
		r.together(workers, func(w int) {
			for i := range each {
				if got := key(w*each + i).pick(i + 1).report(report{}).Snapshot; got.Phase != holdoff.Held || got.Attempts != 1 {
					r.fatalf("key %d of %d: %+v", w*each+i, workers*each, got)
				}
			}
		})
	}},
	{"a call whose context has ended returns, and harms no other call", func(r *rig) {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			// Whether they fail is the store's choice: it may have a bound of its own.
			r.a.store.Report(ended, r.key+"x", r.a.filled(report{}))
			r.a.store.Commit(ended, r.key+"x", decision{})
		}()
		select {
		case <-done:
		case <-time.After(patience):
			r.fatalf("a call whose context has ended does not return")
		}
		r.want(r.a.hint(20*time.Second).Snapshot, holdoff.Held, 0, "a call thereafter")
		r.want(r.b.report(report{}).Snapshot, holdoff.Held, 0, "a call of another replica thereafter")
	}},
}
