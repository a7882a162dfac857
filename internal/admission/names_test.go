package admission

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// alone returns a key of a process that shares nothing.
func alone() *Key {
	var table Table
	table.Init(nil, func(Change) {})
	return table.Key(named("h"))
}

// A refusal holds what the server says that its limit is of.
func TestNames_ReachOfALimitIsObeyed(t *testing.T) {
	for reach, want := range map[string][4]bool{ // whether each of the points below passes
		"user":   {false, true, true, true},
		"shared": {false, false, true, true},
		"global": {false, true, false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := alone()
			k.serve(at("/other", "2", ""))
			pass, _ := k.TryFastPath()
			k.Record(&pass, Outcome{At: at("/a", "1", ""), Limit: "bucket", Reach: reach, Result: hold.Result{Lesson: hold.Refused, Hint: time.Minute, Status: 429}})
			k.serve(at("/b", "3", "")) // the rest is well
			for i, s := range []struct{ route, credential string }{{"/a", "1"}, {"/a", "2"}, {"/b", "1"}, {"/b", "2"}} {
				if got := k.passes(t, at(s.route, s.credential, "")); got != want[i] {
					t.Errorf("%s: %s of %s passes: %t, want %t", reach, s.route, s.credential, got, want[i])
				}
			}
		})
	}
}

// A limit with a name is one of the credential that met it, until so many have met it that
// it is one of all, as with any other limit.
func TestNames_LimitIsOfItsCredentialUntilOthersMeetIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := alone()
		meet := func(credential string) {
			pass, _ := k.TryFastPath()
			k.Record(&pass, Outcome{At: at("/a", credential, ""), Limit: "core", Result: hold.Result{Lesson: hold.Refused, Hint: time.Minute, Status: 429}})
		}
		meet("1")
		k.serve(at("/a", "2", ""))
		if k.passes(t, at("/a", "1", "")) || !k.passes(t, at("/a", "2", "")) {
			t.Error("the limit is not one of its credential alone")
		}
		for _, credential := range []string{"3", "4", "5"} {
			meet(credential)
		}
		if k.passes(t, at("/a", "2", "")) || !k.passes(t, at("/b", "2", "")) {
			t.Error("a limit that three credentials have met in a row is not one of all, or is one of more than its name")
		}
	})
}

// Numbers without a name are those of all that they came from, and of nothing else.
func TestNames_QuotaWithoutANameIsOfWhatSpokeOfIt(t *testing.T) {
	type speaker struct{ route, credential string }
	for _, tt := range []struct {
		spoke []speaker
		held  string // as a scope
	}{
		{[]speaker{{"/a", "1"}}, "/a #1"},
		{[]speaker{{"/a", "1"}, {"/a", "1"}}, "/a #1"},
		{[]speaker{{"/a", "1"}, {"/b", "1"}}, "#1"},
		{[]speaker{{"/a", "1"}, {"/a", "2"}}, "/a"},
		{[]speaker{{"/a", "1"}, {"/b", "2"}}, ""},
		{[]speaker{{"", ""}}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := alone()
			left := 100
			say := func(s speaker, near bool) {
				left--
				pass, _ := k.TryFastPath()
				o := Outcome{At: at(s.route, s.credential, ""), Result: hold.Result{Lesson: hold.Good, HasQuota: true}}
				o.Permit = pass.whole
				o.Quota = hold.Quota{Remaining: left, ResetAt: time.Now().Add(time.Minute), NearExhaustion: near}
				if !near {
					k.Learn(o)
					return
				}
				k.Record(&pass, o)
			}
			for _, s := range tt.spoke {
				say(s, false)
			}
			say(tt.spoke[0], true)
			var held []string
			for _, seen := range k.Inspect() {
				held = append(held, seen.Scope.String())
			}
			if len(held) != 1 || held[0] != tt.held {
				t.Errorf("%v: got %q rationed, want %q", tt.spoke, held, tt.held)
			}
		})
	}
}

// A contradiction ends a ration, and what was learned of who draws on it.
func TestNames_QuotaThatContradictsItselfIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := alone()
		say := func(q hold.Quota) {
			q.ResetAt = time.Now().Add(time.Minute)
			k.Record(&Pass{}, Outcome{At: at("/a", "1", ""), Result: hold.Result{Lesson: hold.Good, Quota: q, HasQuota: true}})
		}
		say(hold.Quota{Remaining: 9, NearExhaustion: true})
		if k.Open() {
			t.Fatal("a quota that is nearly used up is not rationed")
		}
		say(hold.Quota{Inconsistent: true})
		if g := k.gate(at("/a", "1", "")); g.hold.Phase() != hold.Ramping || k.counted != nil {
			t.Errorf("the route is %v, and %v is counted; want it released, and nothing known", g.hold.Phase(), k.counted)
		}
	})
}

// Answers of a healthy key are looked at while they teach something, and seldom after that.
func TestNames_AreLearnedWhileTheKeyIsHealthy(t *testing.T) {
	k := alone()
	looks := 0
	learn := func(route string) {
		if k.MayLearn() {
			looks++
			k.Learn(Outcome{At: at(route, "1", ""), Limit: "core", Result: hold.Result{Lesson: hold.Good}})
		}
	}
	for i := range 100 {
		learn(fmt.Sprint("/", i))
	}
	if len(k.names) != 100 {
		t.Errorf("%d of 100 routes are known", len(k.names))
	}
	looks = 0
	for range 100 * (mostIgnored + 1) {
		learn("/1")
	}
	if looks > 300 {
		t.Errorf("%d of %d answers with nothing new were looked at", looks, 100*(mostIgnored+1))
	}
	for i := range 2 * maxNames {
		k.Learn(Outcome{At: at(fmt.Sprint("/more", i), "", ""), Limit: "core"})
	}
	if len(k.names) > maxNames {
		t.Errorf("%d routes are kept, want %d at most", len(k.names), maxNames)
	}
}
