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
		tally := &Tally{Server: Paths{"/a": &Random{Share: 1, Status: 500}}}
		ask(tally, "/a")
		ask(tally, "/b")
		time.Sleep(2 * Slot)
		ask(tally, "/b")
		if got, want := tally.Slots(), (Slots{{2, 1}, {}, {1, 1}}); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
