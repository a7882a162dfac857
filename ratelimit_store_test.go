package holdoff_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// A host where every path is a scope of its own leaves nothing behind, also where its
// key stays in use.
func TestMemoryStore_ForgetsScopesOfAKeyInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &holdoff.MemoryStore{}
		defer s.Watch(fleetKey, func(string, holdoff.State) {})()
		scope := func(i int) string { return fmt.Sprintf("%s /users/%d", fleetKey, i) }
		for i := range 100 {
			tell(t, s, scope(i), heldFor(5*time.Second))
		}
		time.Sleep(10 * time.Second)
		for i := range 100 {
			probe := tell(t, s, scope(i), holdoff.Report{Want: 1})
			tell(t, s, scope(i), holdoff.Report{Generation: probe.Generation, Good: 1, Well: true})
		}
		for range 3 {
			time.Sleep(10 * time.Minute) // in which no request asks for them
			tell(t, s, fleetKey, heldFor(time.Minute))
		}
		if records, mirrored := s.Kept(); records != 1 || mirrored != 1 {
			t.Errorf("%d records and %d states are kept, want those of the key", records, mirrored)
		}
	})
}
