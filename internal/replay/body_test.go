package replay

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A body above the limit is not kept in memory.
func TestBody_ForgetsAStreamAboveTheLimit(t *testing.T) {
	t.Parallel()
	b := New(io.NopCloser(io.LimitReader(zeros{}, 64<<20)), Limit)
	view := b.Next()
	p := make([]byte, 32<<10)
	for most := 0; ; {
		_, err := view.Read(p)
		if most = max(most, cap(b.head)); most > 2*Limit {
			t.Fatalf("%d bytes are remembered, want about %d at most", most, Limit)
		}
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if b.head != nil || b.Next() != nil {
		t.Errorf("got %d bytes remembered, want none, and no replay", len(b.head))
	}
}

func TestInMemory_TrueForTheBodiesThatNewRequestMakes(t *testing.T) {
	t.Parallel()
	for _, r := range []io.Reader{bytes.NewReader(nil), &bytes.Buffer{}, strings.NewReader("")} {
		if !InMemory(io.NopCloser(r)) {
			t.Errorf("%T: got false, want true", r)
		}
	}
	if InMemory(&view{}) {
		t.Error("a body of another type: got true, want false")
	}
}
