package admission

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

func at(route, credential, replica string) scope.Scope {
	return scope.Scope{Route: route, Credential: credential, Replica: replica}
}

// What several refused points have in common is one limit where there are enough of
// them, and where no later success says otherwise.
func TestEvidence_CommonIsTheLeastScopeThatExplainsAll(t *testing.T) {
	type event struct {
		refused scope.Scope
		good    scope.Scope // a success that was sent after all that was refused before
		early   bool        // it was sent before any refusal was known
	}
	for _, tt := range []struct {
		name   string
		events []event
		want   scope.Scope
		ok     bool
	}{
		{"one point", []event{{refused: at("/a", "1", "x")}}, scope.Scope{}, false},
		{"two replicas at a point", []event{{refused: at("/a", "1", "x")}, {refused: at("/a", "1", "y")}}, scope.Scope{}, false},
		{"two routes", []event{{refused: at("/a", "1", "x")}, {refused: at("/b", "1", "x")}}, scope.Scope{}, false},
		{"three routes of a replica", []event{{refused: at("/a", "1", "x")}, {refused: at("/b", "1", "x")}, {refused: at("/c", "1", "x")}}, at("", "1", "x"), true},
		{"three routes of three replicas", []event{{refused: at("/a", "1", "x")}, {refused: at("/b", "1", "y")}, {refused: at("/c", "1", "z")}}, at("", "1", ""), true},
		{"three credentials", []event{{refused: at("/a", "1", "x")}, {refused: at("/a", "2", "y")}, {refused: at("/a", "3", "z")}}, at("/a", "", ""), true},
		{"three of both", []event{{refused: at("/a", "1", "x")}, {refused: at("/b", "2", "y")}, {refused: at("/c", "3", "z")}}, scope.Scope{}, true},
		{"two routes of three replicas", []event{{refused: at("/a", "1", "x")}, {refused: at("/b", "1", "y")}, {refused: at("/a", "1", "z")}}, scope.Scope{}, false},
		{"a success in between", []event{{refused: at("/a", "1", "x")}, {refused: at("/b", "1", "x"), good: at("/d", "1", "x")}, {refused: at("/c", "1", "x")}}, scope.Scope{}, false},
		{"a success elsewhere", []event{{refused: at("/a", "1", "x")}, {refused: at("/b", "1", "x"), good: at("/d", "2", "x")}, {refused: at("/c", "1", "x")}}, at("", "1", "x"), true},
		{"all were under way", []event{{refused: at("/a", "1", "x"), early: true}, {refused: at("/b", "1", "x"), early: true}, {refused: at("/c", "1", "x"), early: true}}, scope.Scope{}, false},
	} {
		var e evidence
		now := time.Unix(0, 0)
		for i, event := range tt.events {
			epoch := uint64(i + 1)
			l := limit{event.refused, epoch, epoch - 1, now.Add(time.Minute)}
			if event.early {
				l.sent = 0
			}
			e.add(l, now)
			if event.good != (scope.Scope{}) {
				e.good(event.good, epoch)
			}
		}
		last := tt.events[len(tt.events)-1].refused
		got, ok := e.common(last, now, func(scope.Scope) bool { return false })
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: got %q, %t; want %q, %t", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

// A limit is not wide where much of what lies outside it is served as often as it asks.
func TestEvidence_ContradictedByWhatIsServedOutside(t *testing.T) {
	inside := func(s scope.Scope) bool { return s.Route == "/in" }
	for _, tt := range []struct {
		name    string
		outside [][2]int // successes and refusals of a point each
		refused float64
		want    bool
	}{
		{"nothing is known", nil, 0.5, false},
		{"nothing tells", [][2]int{{1, 0}, {2, 0}}, 0.5, true},
		{"all are refused as well", [][2]int{{5, 5}, {3, 2}, {0, 1}}, 0.5, false},
		{"a success where all are refused", [][2]int{{1, 0}}, 1, true},
		{"as many successes as would be by chance", [][2]int{{4, 0}, {5, 5}, {5, 5}}, 0.5, false},
		{"most are well", [][2]int{{9, 0}, {9, 0}, {5, 5}}, 0.5, true},
	} {
		var e evidence
		for i, n := range tt.outside {
			s := at(fmt.Sprint("/", i), "", "")
			for range n[0] {
				e.good(s, 0)
			}
			for range n[1] {
				e.bad(s)
			}
		}
		if got := e.contradicted(scope.Scope{}, inside, tt.refused); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
}

// What is remembered of points and limits is bounded.
func TestEvidence_IsBounded(t *testing.T) {
	var e evidence
	now := time.Unix(0, 0)
	for i := range 1000 {
		s := at(fmt.Sprint("/", i), "", "")
		e.good(s, uint64(i))
		e.bad(s)
		e.add(limit{scope: s, epoch: uint64(i), until: now.Add(time.Hour)}, now)
	}
	if len(e.points) > maxPoints || len(e.limits) > maxPoints {
		t.Errorf("%d points and %d limits, want %d at most", len(e.points), len(e.limits), maxPoints)
	}
}

// refuse records that a request from a point was refused with a hint.
func (k *Key) refuse(s scope.Scope, hint time.Duration) {
	pass, _ := k.TryFastPath()
	k.Record(&pass, Outcome{At: s, Result: hold.Result{Lesson: hold.Refused, Hint: hint, Status: 429}})
}

// serve records that a request from a point was served.
func (k *Key) serve(s scope.Scope) {
	pass, _ := k.TryFastPath()
	k.Record(&pass, Outcome{At: s, Result: hold.Result{Lesson: hold.Good}})
}

// passes reports whether a request from a point may be sent at once.
func (k *Key) passes(t *testing.T, s scope.Scope) bool {
	t.Helper()
	w := &Waiter{Point: s, Latest: time.Now().Add(time.Hour)}
	inLine, err := k.Enqueue(w)
	if err != nil {
		t.Fatal(err)
	}
	if inLine {
		k.Leave(w, false)
	}
	k.mu.Lock()
	k.giveBack(&w.Pass, time.Now())
	k.unlock()
	return !inLine
}

// A trial is sent from where it would be served, if anywhere: from a route and a credential that
// were served since their last limit.
func TestEvidence_LeastSuspiciousIsWhatWasServed(t *testing.T) {
	var e evidence
	now := time.Unix(0, 0)
	until := now.Add(time.Minute)
	e.add(limit{at("/a", "1", ""), 1, 0, until}, now)
	e.add(limit{at("/b", "2", ""), 2, 0, until}, now)
	e.good(at("/b", "3", ""), 2)
	order := []scope.Scope{at("/b", "3", ""), at("/c", "3", ""), at("/c", "4", ""), at("/a", "4", ""), at("/a", "1", "")}
	for i := range order[1:] {
		less, more := e.suspicion(&Waiter{Point: order[i]}), e.suspicion(&Waiter{Point: order[i+1]})
		if less >= more {
			t.Errorf("%v: %d, and %v: %d; want less", order[i], less, order[i+1], more)
		}
	}
}

// What each of two replicas supposes of itself is no more than supposed of both.
func TestFleet_TwoSuppositionsAreHeldForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := replicas(2)
		for i := range 3 {
			for _, k := range all {
				k.refuse(at(fmt.Sprint("/", i, k.replica()), "", ""), 30*time.Second)
			}
		}
		time.Sleep(10 * roundTrip)
		for i, k := range all {
			if m := k.now(); m.Until().After(time.Now().Add(supposeTime)) {
				t.Errorf("replica %d: the key is %v for %v, want %v at most", i, m.Phase(), time.Until(m.Until()), supposeTime)
			}
		}
		time.Sleep(time.Minute)
		for _, k := range all {
			k.unlocked(k.discard)
		}
	})
}

// Where each path is a route of its own, and each is limited, what is remembered is bounded,
// in a process alone and with a store.
func TestScopes_RouteForEachRequestIsBounded(t *testing.T) {
	for _, store := range []Store{nil, &memory{}} {
		synctest.Test(t, func(t *testing.T) {
			var table Table
			table.Init(store, func(Change) {})
			k := table.Key(named("h"))
			for i := range 1000 {
				k.serve(at("/well", "", ""))
				k.refuse(at(fmt.Sprint("/users/", i), "", ""), time.Minute)
				k.unlocked(func() {
					if n := len(k.narrow); n > maxScopes || len(k.limits.limits) > maxPoints || len(k.limits.points) > maxPoints {
						t.Errorf("after %d limits the key has %d scopes, %d limits and %d points", i+1, n, len(k.limits.limits), len(k.limits.points))
					}
				})
			}
			time.Sleep(2 * time.Minute)
			k.unlocked(k.discard)
		})
	}
}

// Beyond maxScopes, a limit is one of the whole key.
func TestScopes_BeyondTheBoundHoldTheWholeKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		table.Init(nil, func(Change) {})
		k := table.Key(named("h"))
		for i := range maxScopes {
			k.serve(at("/well", "", ""))
			k.refuse(at(fmt.Sprint("/", i), "", ""), time.Minute)
		}
		if k.whole.troubled() || len(k.narrow) != maxScopes {
			t.Fatalf("%d scopes, and the whole key is %v", len(k.narrow), k.whole.hold.Phase())
		}
		k.serve(at("/well", "", ""))
		k.refuse(at("/last", "", ""), time.Minute)
		if k.whole.hold.Phase() != hold.Held || len(k.narrow) > maxScopes {
			t.Errorf("%d scopes, and the whole key is %v; want it held", len(k.narrow), k.whole.hold.Phase())
		}
		if k.passes(t, at("/well", "", "")) {
			t.Error("a request was sent into the hold of the whole key")
		}
	})
}

// A process alone measures the whole key first. Once a route turns out to have a limit of its
// own, the pace that was measured with it ends, unless others are refused as well.
func TestScopes_PaceOfTheKeyEndsWhenARouteExplainsIt(t *testing.T) {
	for _, tt := range []struct {
		name  string
		other hold.Lesson
		want  hold.Phase
	}{{"one route is refused", hold.Good, hold.Healthy}, {"another is refused as well", hold.Refused, hold.Paced}} {
		synctest.Test(t, func(t *testing.T) {
			var table Table
			table.Init(nil, func(Change) {})
			k := table.Key(named("h"))
			k.unlocked(func() { enterPhase(&k.whole, hold.Paced, 1000, time.Now().Add(time.Minute)) })
			result := func(route string, lesson hold.Lesson) {
				var pass Pass
				pass.whole = hold.Permit{Generation: k.now().Generation(), Limited: true}
				k.Record(&pass, Outcome{At: at(route, "", ""), Result: hold.Result{Lesson: lesson, Status: 429}})
			}
			for i := range 40 {
				result(fmt.Sprint("/well/", i%4), hold.Good)
			}
			result("/other", tt.other)
			for range enoughRefusalsAlone {
				result("/limited", hold.Refused)
			}
			if got := k.now().Phase(); got != tt.want {
				t.Errorf("%s: the key is %v, want %v", tt.name, got, tt.want)
			}
			k.end()
		})
	}
}

// Where the limits of a key are many since each is met at many points, they are held as what
// they are, and the whole key is not.
func TestScopes_BeyondTheBoundWhatExplainsTheMostIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		table.Init(nil, func(Change) {})
		k := table.Key(named("h"))
		well := at("/well", "other", "")
		k.unlocked(func() { // as other replicas report them
			for i := range maxScopes {
				s := at(fmt.Sprint("/", i), fmt.Sprint("c", i%2), "")
				k.renew(s, time.Now().Add(time.Minute), time.Now())
				enterPhase(k.open(s), hold.Held, 0, time.Now().Add(time.Minute))
			}
		})
		k.refuse(at("/last", "c0", ""), time.Minute)
		if k.whole.troubled() || len(k.narrow) > maxScopes*3/4 {
			t.Errorf("%d scopes, and the whole key is %v; want one for a credential", len(k.narrow), k.whole.hold.Phase())
		}
		if k.passes(t, at("/new", "c0", "")) || !k.passes(t, well) {
			t.Errorf("want the credential held that is refused everywhere, and the others open")
		}
		k.end()
	})
}

// While it is not known whether the rest is well, one request at a time goes out. It is
// open after a success, or when no refusal has come for a moment.
func TestScopes_TheRestIsTriedOneByOne(t *testing.T) {
	for _, answered := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var table Table
			table.Init(nil, func(Change) {})
			k := table.Key(named("h"))
			k.refuse(at("/a", "", ""), time.Minute)
			if k.passes(t, at("/a", "", "")) {
				t.Error("a request was sent into its hold")
			}
			first := &Waiter{Point: at("/b", "", ""), Latest: time.Now().Add(time.Hour)}
			if inLine, err := k.Enqueue(first); inLine || err != nil {
				t.Fatalf("the first request from outside waits: %v", err)
			}
			second := &Waiter{Point: at("/c", "", ""), Latest: time.Now().Add(time.Hour)}
			if inLine, err := k.Enqueue(second); !inLine {
				t.Fatalf("the second request from outside does not wait: %v", err)
			}
			begun := time.Now()
			if answered {
				k.Record(&first.Pass, Outcome{At: first.Point, Result: hold.Result{Lesson: hold.Good}})
			}
			if err := k.Wait(t.Context(), second, false); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(begun); (d == 0) != answered || d > trialTime {
				t.Errorf("answered %t: the second was sent after %v", answered, d)
			}
			if !k.passes(t, at("/d", "", "")) {
				t.Error("the rest is not open")
			}
			time.Sleep(time.Hour)
		})
	}
}

// Routes whose limit has one name are held together, and a global limit holds all.
func TestScopes_NamesOfTheServerWin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		table.Init(nil, func(Change) {})
		k := table.Key(named("h"))
		named := func(route, limit string, lesson hold.Lesson, hint time.Duration, reach string) {
			pass, _ := k.TryFastPath()
			k.Record(&pass, Outcome{At: at(route, "", ""), Limit: limit, Reach: reach, Result: hold.Result{Lesson: lesson, Hint: hint, Status: 429}})
		}
		named("/search/code", "search", hold.Good, 0, "")
		named("/search/issues", "search", hold.Refused, 45*time.Second, "")
		named("/repos", "core", hold.Good, 0, "")
		for route, want := range map[string]bool{"/search/code": false, "/search/issues": false, "/repos": true, "/unknown": true} {
			if got := k.passes(t, at(route, "", "")); got != want {
				t.Errorf("%s passes: %t, want %t", route, got, want)
			}
		}
		named("/repos", "", hold.Refused, time.Minute, "global")
		if k.passes(t, at("/unknown", "", "")) {
			t.Error("a global limit does not hold all")
		}
	})
}

// A request never waits for the end of a hold with the permit of another scope in hand.
func TestScopes_NoPermitIsHeldDuringAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		table.Init(nil, func(Change) {})
		k := table.Key(named("h"))
		k.serve(at("/b", "", ""))
		k.refuse(at("/a", "", ""), 3*time.Second)
		k.serve(at("/b", "", ""))
		time.Sleep(3 * time.Second)
		// The route may be probed, and the whole key is held.
		k.unlocked(func() { enterPhase(&k.whole, hold.Held, 0, time.Now().Add(10*time.Second)) })
		w := &Waiter{Point: at("/a", "", ""), Latest: time.Now().Add(time.Hour)}
		if inLine, err := k.Enqueue(w); !inLine {
			t.Fatalf("the request does not wait: %v", err)
		}
		if len(w.Pass.narrow) > 0 || w.at != &k.whole {
			t.Errorf("the request waits for %v with %d permits", w.at.scope, len(w.Pass.narrow))
		}
		if err := k.Wait(t.Context(), w, false); err != nil || !w.Pass.Limited() {
			t.Errorf("%v, %+v; want the probe", err, w.Pass)
		}
		time.Sleep(time.Hour)
	})
}

// Two routes are asked for again and again, and refused: when a third is refused as well,
// the limit is of all.
func TestScopes_ARefusedProbeIsEvidenceAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := alone()
		k.refuse(at("/a", "", ""), 3*time.Second)
		k.refuse(at("/b", "", ""), 3*time.Second)
		for range 3 {
			time.Sleep(3 * time.Second)
			for _, route := range []string{"/a", "/b"} {
				w := &Waiter{Point: at(route, "", ""), Latest: time.Now().Add(time.Hour)}
				if inLine, err := k.Enqueue(w); inLine || err != nil || !w.Pass.Limited() {
					t.Fatalf("%s is not probed: %t, %v", route, inLine, err)
				}
				k.Record(&w.Pass, Outcome{At: w.Point, Result: hold.Result{Lesson: hold.Refused, Hint: 3 * time.Second, Status: 429}})
			}
		}
		time.Sleep(time.Second)
		k.refuse(at("/c", "", ""), 3*time.Second)
		if k.whole.hold.Phase() != hold.Held {
			t.Errorf("three routes are refused, and the whole key is %v, want it held", k.whole.hold.Phase())
		}
	})
}

// The same where another replica asks for the two, and this one is refused at the third.
func TestScopes_AProbeThatIsRefusedElsewhereIsEvidenceAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := alone()
		version := uint64(0)
		say := func(phase hold.Phase) {
			for _, route := range []string{"/a", "/b"} {
				version++
				k.onStoreChange(route, hold.Snapshot{Version: version, Generation: version, Phase: phase, Until: time.Now().Add(3 * time.Second)})
			}
		}
		say(hold.Held)
		for range 3 {
			time.Sleep(3 * time.Second)
			say(hold.Probing)
			say(hold.Held)
		}
		time.Sleep(time.Second)
		k.refuse(at("/c", "", ""), 3*time.Second)
		if k.whole.hold.Phase() != hold.Held {
			t.Errorf("three routes are refused, and the whole key is %v, want it held", k.whole.hold.Phase())
		}
	})
}

// pacedRoute returns a key of a process alone with a route that is paced, and n requests
// that wait for it.
func pacedRoute(t *testing.T, n int) (*Key, []*Waiter) {
	var table Table
	table.Init(nil, func(Change) {})
	k := table.Key(named("h"))
	k.unlocked(func() { enterPhase(k.open(at("/paced", "", "")), hold.Held, 0, time.Now().Add(time.Minute)) })
	var line []*Waiter
	for range n {
		w := &Waiter{Point: at("/paced", "", ""), Latest: time.Now().Add(time.Hour)}
		if inLine, err := k.Enqueue(w); !inLine || err != nil {
			t.Fatalf("the request does not wait: %v", err)
		}
		line = append(line, w)
	}
	return k, line
}

// Where the whole key is measured, and not since several routes have one limit, a route that
// is paced stays so: its line does not go out at once.
func TestAbsorb_MeasurementOfTheKeyKeepsThePaceOfARoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, line := pacedRoute(t, 48)
		k.unlocked(func() {
			g := k.gate(at("/paced", "", ""))
			enterPhase(g, hold.Ramping, 1, time.Now().Add(time.Minute))
			k.whole.measure(time.Now())
		})
		sent := 0
		for _, w := range line {
			select {
			case <-w.ready:
				sent++
			default:
				defer k.Leave(w, false)
			}
		}
		if phase := k.now().Phase(); sent > 1 || phase != hold.Counted {
			t.Errorf("%d of 48 requests were sent at once, and the key is %v; want 1 at most, counted", sent, phase)
		}
		time.Sleep(time.Hour)
	})
}

// Where the line of a route joins that of the key, the requests stand in the order in which
// they came.
func TestAbsorb_LinesMergeByArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, early := pacedRoute(t, 2)
		k.unlocked(func() { enterPhase(&k.whole, hold.Probing, 0, time.Now().Add(time.Minute)) })
		other := &Waiter{Point: at("/other", "", ""), Latest: time.Now().Add(time.Hour)}
		if inLine, err := k.Enqueue(other); !inLine || err != nil {
			t.Fatalf("the request does not wait: %v", err)
		}
		late := &Waiter{Point: at("/paced", "", ""), Latest: time.Now().Add(time.Hour)}
		if inLine, err := k.Enqueue(late); !inLine || err != nil {
			t.Fatalf("the request does not wait: %v", err)
		}
		k.unlocked(func() { enterPhase(&k.whole, hold.Held, 0, time.Now().Add(10*time.Minute)) })
		for i, want := range []*Waiter{early[0], early[1], other, late} {
			var oldest *Waiter
			k.unlocked(func() { oldest = k.whole.waiters.oldest() })
			if oldest != want {
				t.Fatalf("place %d of the line is another request's", i)
			}
			k.Leave(want, false)
		}
		time.Sleep(time.Hour)
	})
}

// Refusals of requests that were under way when a limit was met hold their points, and
// nothing wider; that of one which was sent since does, for a moment. What is tried at the end
// of it comes from a point that was not refused, and its success ends it.
func TestScopes_SupposedLimitIsTriedAndUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		table.Init(nil, func(Change) {})
		k := table.Key(named("h"))
		var underWay [3]Pass
		for i := range underWay {
			underWay[i], _ = k.TryFastPath()
		}
		refuse := func(p *Pass, route string) {
			k.Record(p, Outcome{At: at(route, "", ""), Result: hold.Result{Lesson: hold.Refused, Hint: 30 * time.Second, Status: 429}})
		}
		for i := range underWay {
			refuse(&underWay[i], fmt.Sprint("/", i))
		}
		if k.now().Phase() != hold.Healthy {
			t.Fatal("requests that were under way held the whole key")
		}
		trial := &Waiter{Point: at("/3", "", ""), Latest: time.Now().Add(time.Hour)}
		if inLine, err := k.Enqueue(trial); inLine || err != nil {
			t.Fatalf("there is no trial: %v", err)
		}
		refuse(&trial.Pass, "/3")
		if phase := k.now().Phase(); phase != hold.Held {
			t.Fatalf("after a refused trial the key is %v, want held", phase)
		}
		begun := time.Now()
		var line []*Waiter
		for _, route := range []string{"/3", "/other", "/other"} {
			w := &Waiter{Point: at(route, "", ""), Latest: time.Now().Add(time.Hour)}
			if inLine, err := k.Enqueue(w); !inLine || err != nil {
				t.Fatalf("a request does not wait: %v", err)
			}
			line = append(line, w)
		}
		if err := k.Wait(t.Context(), line[1], false); err != nil || time.Since(begun) != supposeTime {
			t.Fatalf("the trial was sent after %v: %v", time.Since(begun), err)
		}
		k.Record(&line[1].Pass, Outcome{At: line[1].Point, Result: hold.Result{Lesson: hold.Good}})
		if err := k.Wait(t.Context(), line[2], false); err != nil || k.now().Phase() != hold.Healthy {
			t.Errorf("after a good trial the key is %v: %v", k.now().Phase(), err)
		}
		if k.passes(t, at("/3", "", "")) {
			t.Error("the point that was refused is open")
		}
		k.Leave(line[0], false)
		time.Sleep(time.Hour)
	})
}
