package hold

import (
	"testing"
	"time"
)

// Without the fleet, what a server takes of this process is found anew, from
// little.
func TestDetach_ContinuesAlone(t *testing.T) {
	for phase, want := range map[Phase]string{
		Held: "held until 1s, level 0", Probing: "probing 1 of 1 until 1s", Ramping: "probing 1 of 1 until 1s",
		Counted: "counted 0 of 0 until 1s", Paced: "ramping 0 of 2 until 100ms", Rationed: "ramping 0 of 2 until 100ms",
	} {
		tr := newTrace(t)
		tr.h.enter(phase, 0, tr.start.Add(time.Second))
		tr.h.shared = true
		tr.h.Detach(tr.start)
		if got := tr.state(); got != want || tr.h.shared {
			t.Errorf("%v: got %q, shared %t; want %q, alone", phase, got, tr.h.shared, want)
		}
	}
}
