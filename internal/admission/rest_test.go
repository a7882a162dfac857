package admission

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// A failure or a refusal that is counted against the whole key does not spare what is
// outside a limit its trial.
func TestScopes_TheRestIsTriedAlsoWhereFailuresAreCounted(t *testing.T) {
	for _, lesson := range []hold.Lesson{hold.Failed, hold.Refused} {
		synctest.Test(t, func(t *testing.T) {
			var table Table
			table.Init(nil, func(Change) {})
			k := table.Key(named("h"))
			pass, _ := k.TryFastPath()
			k.Record(&pass, Outcome{At: at("/other", "", ""), Result: hold.Result{Lesson: lesson, Status: 500}})
			k.refuse(at("/search", "", ""), time.Minute)
			sent := 0
			for i := range 10 {
				w := &Waiter{Point: at(fmt.Sprint("/", i), "", ""), Latest: time.Now().Add(time.Hour)}
				inLine, err := k.Enqueue(w)
				if err != nil {
					t.Fatal(err)
				}
				if !inLine {
					sent++
				} else {
					defer k.Leave(w, false)
				}
			}
			if sent != 1 {
				t.Errorf("%v: %d requests from outside the limit were sent, want 1 at a time", lesson, sent)
			}
		})
	}
}

// A refusal that starts a measurement was sent before it, and is not counted in it: a few
// refusals with long pauses between them hold nothing.
func TestScopes_RareRefusalsOfOneProcessHoldNothing(t *testing.T) {
	for _, route := range []string{"", "/search"} {
		synctest.Test(t, func(t *testing.T) {
			var table Table
			table.Init(nil, func(Change) {})
			k := table.Key(named("h"))
			for range 10 {
				pass, _ := k.TryFastPath()
				k.Record(&pass, Outcome{At: at(route, "", ""), Result: hold.Result{Lesson: hold.Refused, Status: 429}})
				time.Sleep(10 * time.Second)
				if phase := k.now().Phase(); phase != hold.Healthy {
					t.Fatalf("route %q: the key is %v", route, phase)
				}
			}
		})
	}
}
