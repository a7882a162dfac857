package storetest

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// violations returns what each rule finds wrong with a store.
func violations(t *testing.T, open func() holdoff.Store, of []rule) map[string]error {
	found := make(map[string]error)
	for _, rule := range of {
		synctest.Test(t, func(t *testing.T) {
			s := open()
			if err := rule.run(s, s); err != nil {
				found[rule.name] = err
			}
			time.Sleep(3 * patience) // for what waits for a lock in vain
		})
	}
	return found
}

// Each of these stores breaks one promise, and the rule that is made of it says so.
func TestRules_FindWhatIsBroken(t *testing.T) {
	caught := make(map[string]bool)
	for _, tt := range brokenStores {
		t.Run(tt.name, func(t *testing.T) {
			found := violations(t, tt.open, rules())
			if len(found) == 0 {
				t.Fatal("no rule finds it")
			}
			for name := range found {
				caught[name] = true
			}
			named := func(name string) bool { return strings.Contains(name, tt.rule) }
			if all := slices.Collect(maps.Keys(found)); !slices.ContainsFunc(all, named) {
				t.Errorf("the rule %q does not find it, but these do: %q", tt.rule, all)
			}
		})
	}
	for _, rule := range rules() {
		if !caught[rule.name] {
			t.Errorf("no broken store breaks the rule %q: can it fail?", rule.name)
		}
	}
}

// A register of Records is a store: those above are wrong in one thing.
func TestRules_HoldForARegister(t *testing.T) {
	for name, err := range violations(t, func() holdoff.Store { return &register{} }, rules()) {
		t.Errorf("%s: %v", name, err)
	}
}
