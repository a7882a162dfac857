package fleet

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		tally := &Tally{Server: Paths{"/0": &Random{Share: 1, Status: 500}}}
		ask(tally, "/0")
		ask(tally, "/1")
		time.Sleep(2 * Slot)
		ask(tally, "/1")
		if got, want := tally.Slots(), (Slots{{2, 1}, {}, {1, 1}}); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
