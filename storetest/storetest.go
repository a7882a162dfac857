// Package storetest checks that a [holdoff.Store] keeps the rules on which a fleet
// relies.
//
// A store is a register and a change feed. Most rules are of the register: they
// begin a round by hand, and look at what is added up, granted and decided. The
// stories at the end run the machine itself over the store.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) (a, b holdoff.Store) {
//			return open(t), open(t)
//		})
//	}
package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

const (
	// atATime is how many rules run at a time. They mostly sleep, but they also mind
	// the clock.
	atATime = 8
	// tries is how often a rule is tried where the machine was too slow for it.
	tries = 8
	// tryDelay is the pause before the next try: a store that failed may be back
	// after it.
	tryDelay = 200 * time.Millisecond
)

// Run checks every rule in a subtest of its own. newPair is called once, and returns
// two handles on one new store, as two replicas have them: what is reported through
// one must be visible through the other. It closes them by t.Cleanup.
//
// The rules run in real time, in some seconds. A rule is tried again with another key
// where the machine was too slow for it, or the store returned an error.
func Run(t *testing.T, newPair func(t *testing.T) (a, b holdoff.Store)) {
	t.Helper()
	a, b := newPair(t)
	turn := make(chan struct{}, atATime)
	var running sync.WaitGroup
	defer running.Wait()
	for _, rule := range rules() {
		running.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			t.Run(rule.name, func(t *testing.T) {
				if err := rule.run(a, b); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A rule is one thing that every store must do.
type rule struct {
	name  string
	check func(*rig)
}

// rules are all rules.
func rules() []rule {
	return slices.Concat(reportRules, failureRules, holdRules, permitRules, decisionRules, commitRules, watchRules, keyRules, storyRules, limitStoryRules, shareRules)
}

// run checks the rule, with a new key for each try.
func (r rule) run(a, b holdoff.Store) error {
	var err error
	for range tries {
		err = r.try(a, b, fmt.Sprintf("https://%s.example.com", rand.Text()))
		if !errors.Is(err, errNotNow) {
			return err
		}
		time.Sleep(tryDelay)
	}
	return err
}

func (r rule) try(a, b holdoff.Store, key string) (err error) {
	defer func() {
		if x := recover(); x != nil {
			broken, ok := x.(violation)
			if !ok {
				panic(x)
			}
			err = broken.error
		}
	}()
	rig := &rig{key: key}
	rig.a, rig.b = &replica{rig: rig, store: a, name: "a"}, &replica{rig: rig, store: b, name: "b"}
	r.check(rig)
	return nil
}
