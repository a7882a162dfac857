package admission

import (
	"testing"
	"unsafe"
)

// A crawler's table has many keys that know nothing. Each has one gate, and none of what
// a narrow scope needs.
func TestTable_KeyThatKnowsNothingIsSmall(t *testing.T) {
	const most = 2 << 10
	if size := unsafe.Sizeof(Key{}); size > most {
		t.Errorf("a key has %d bytes, want %d at most", size, most)
	}
	_, all := tableOf(1)
	k := all[0]
	if k.rest != nil || k.narrow != nil || k.limits.points != nil || k.limits.limits != nil || k.changed != nil || k.events != nil || k.whole.timer != nil {
		t.Errorf("a key that knows nothing keeps something: %+v", k.limits)
	}
}
