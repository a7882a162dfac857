package storetest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// The rules in virtual time: no rule is ever too slow there.
func TestMemoryStore_KeepsTheRules(t *testing.T) {
	for _, rule := range rules() {
		t.Run(rule.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &holdoff.MemoryStore{}
				if err := rule.run(s, s); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What the rules leave behind is forgotten: no key is kept for ever.
func TestMemoryStore_ForgetsWhatHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &holdoff.MemoryStore{}
		for _, rule := range storyRules {
			if err := rule.run(s, s); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(2 * 366 * 24 * time.Hour)
		for key, state := range s.All() {
			t.Errorf("%s is kept: %+v", key, state)
		}
	})
}

// Run in real time, as users call it.
func TestRun_AcceptsMemoryStore(t *testing.T) {
	if testing.Short() {
		t.Skip("real time")
	}
	t.Parallel()
	Run(t, func(*testing.T) (a, b holdoff.Store) {
		s := &holdoff.MemoryStore{}
		return s, s
	})
}
