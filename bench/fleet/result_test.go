package fleet

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

func TestResult(t *testing.T) {
	ms := time.Millisecond
	r := NewResult([]Answer{
		{Asked: 0, Took: 10 * ms, Served: true}, {Asked: 100 * ms, Took: 30 * ms, Served: true}, {Asked: 200 * ms, Took: 900 * ms, Served: true}, {Asked: 300 * ms, Took: time.Minute, Served: false},
	}, Slots{{2, 2}, {3, 1}, {}, {1, 1}})
	if r.Requests != 4 || r.Served != 3 || r.Failed != 1 || r.Sent != 6 || r.Refused != 2 {
		t.Errorf("got %+v", r)
	}
	if r.P50 != 30*ms || r.P99 != 900*ms || r.Last != 1100*ms {
		t.Errorf("got p50 %v, p99 %v, last %v", r.P50, r.P99, r.Last)
	}
	if got := r.Goodput(0, time.Second); got != 2 {
		t.Errorf("goodput of the first second: %v, want 2", got)
	}
	if got := []int{r.Peak(0, time.Hour), r.Peak(200*ms, time.Hour), r.Peak(time.Hour, 2*time.Hour)}; !slices.Equal(got, []int{3, 1, 0}) {
		t.Errorf("peaks %v", got)
	}
	if r.PerRequest() != 1.5 || r.InVain() != 3 {
		t.Errorf("%v sends per request, %d in vain", r.PerRequest(), r.InVain())
	}
	if none := NewResult(nil, nil); none.PerRequest() != 0 || none.P99 != 0 {
		t.Errorf("of nothing came %+v", none)
	}
}

// Callers who ask in the first two seconds after the release are served late, and
// those who ask thereafter at once.
func TestRecovery(t *testing.T) {
	released := 5 * time.Second
	var answers []Answer
	for at := time.Duration(0); at < 10*time.Second; at += 10 * time.Millisecond {
		took := 10 * time.Millisecond
		if released <= at && at < released+2*time.Second {
			took = 3 * time.Second
		}
		answers = append(answers, Answer{Asked: at, Took: took, Served: true})
	}
	slices.Reverse(answers)
	if got, ok := NewResult(answers, nil).Recovery(released); !ok || got != 2*time.Second {
		t.Errorf("got %v, %v, want 2 s", got, ok)
	}
	for i := range answers {
		answers[i].Served = false
	}
	if got, ok := NewResult(answers, nil).Recovery(released); ok {
		t.Errorf("got %v of a server that never recovers", got)
	}
	if _, ok := NewResult(nil, nil).Recovery(released); ok {
		t.Error("nobody asked, and all is well")
	}
}

func TestSlotsAsText(t *testing.T) {
	want := Slots{{12, 10}, {8, 8}, {}, {3, 0}}
	text, err := json.Marshal(want)
	if err != nil || string(text) != `"12/10 8 0 3/0"` {
		t.Errorf("got %s, %v", text, err)
	}
	var got Slots
	if err := json.Unmarshal(text, &got); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if err := got.UnmarshalText([]byte("1 x")); err == nil {
		t.Error("x is a count")
	}
}
