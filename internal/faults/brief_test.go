package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"github.com/go-holdoff/holdoff"
)

// Faults of about a second each, and what is true of them on any machine,
// whatever else it does: nothing here compares durations.
func TestOneServerBriefly(t *testing.T) {
	if asked || testing.Short() {
		t.Skip("faults: the whole suite runs instead, or nobody has the time")
	}
	for _, c := range ways() {
		if !c.brief {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			begin(t)
			f, what := c.start(t)
			f.briefly(what)
		})
	}
}

// briefly harms Redis for a second, and for as long as it takes the stores to
// notice.
func (f *field) briefly(what fault) {
	f.t.Helper()
	const known = "known.example"
	f.origin.refuse(known, 4*time.Minute)
	f.isTold(f.replicas[0], known)
	if what.absent {
		for _, rep := range f.replicas[1:] {
			f.isTold(rep, known)
		}
	} else {
		f.eventually("all know of the hold", func() bool { return f.all(holds(known, true)) })
	}
	sends := len(f.origin.between(known, time.Time{}, time.Now()))

	if what.harm != nil {
		what.harm()
	}
	var alone []string
	for i := range 3 * len(f.replicas) { // so that each has more than one call to fail
		host := fmt.Sprintf("alone-%d.example", i)
		alone = append(alone, host)
		f.origin.refuse(host, 4*time.Minute)
		f.isTold(f.replicas[i%len(f.replicas)], host)
	}
	noticed := func(rep *replica) bool {
		return what.mute || what.from == "" || slices.ContainsFunc(rep.logs.All(), func(e observer.LoggedEntry) bool { return strings.HasPrefix(e.Message, what.from) })
	}
	for begun := time.Now(); time.Since(begun) < time.Second || !f.all(noticed); time.Sleep(50 * time.Millisecond) {
		if what.during != nil {
			what.during()
		}
		for i, host := range alone {
			rep := f.replicas[i%len(f.replicas)]
			f.isHeld(rep, host)
			f.isHeld(rep, known)
		}
		if time.Since(begun) > time.Minute {
			f.t.Errorf("after a minute not all have logged %q", what.from)
		}
		if f.t.Failed() {
			break
		}
	}
	if what.heal != nil {
		what.heal()
	}

	for _, host := range append(alone, known) {
		f.eventually("all know of all holds again", func() bool { return f.all(holds(host, true)) })
	}
	if n := len(f.origin.between(known, time.Time{}, time.Now())); n != sends {
		f.t.Errorf("%d requests were sent into a hold that all knew", n-sends)
	}
	f.checkTransitions()
	f.checkHolds()
	w := f.measure()
	if len(w.failures) > 0 || len(w.total) == 0 {
		f.t.Errorf("of %d requests failed %d: %v", len(w.total), len(w.failures), w.failures)
	}
}

// holds returns whether a replica holds a host, by itself or with all others.
func holds(host string, shared bool) func(*replica) bool {
	return func(rep *replica) bool {
		k := rep.look(host)
		return k.Phase == holdoff.Held && (k.Shared || !shared)
	}
}

// isTold has a replica ask a host that refuses, and hold it then.
func (f *field) isTold(rep *replica, host string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if status, err := rep.get(ctx, host); status != http.StatusTooManyRequests {
		f.t.Errorf("%s at %s: %d, %v", rep.name, host, status, err)
	}
	if !holds(host, false)(rep) {
		f.t.Errorf("%s does not hold %s, which has refused: %+v", rep.name, host, rep.look(host))
	}
}

// isHeld has a replica ask a host that it knows to be held, for longer than
// anybody waits.
func (f *field) isHeld(rep *replica, host string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	status, err := rep.get(ctx, host)
	if _, ok := errors.AsType[*holdoff.HeldError](err); !ok {
		f.t.Errorf("%s at %s, which is held: %d, %v", rep.name, host, status, err)
	}
}

// eventually waits until holds does, for as long as any machine may need.
func (r *rig) eventually(what string, holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not within a minute: %s", what)
		}
	}
}
