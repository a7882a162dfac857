package main

import (
	"testing"

	"github.com/go-holdoff/holdoff/bench/random"
)

func TestChoose(t *testing.T) {
	sections := sections(random.Options{})
	if all, err := choose(sections, ""); err != nil || len(all) != len(sections) {
		t.Errorf("got %d sections, %v, want all", len(all), err)
	}
	last := sections[len(sections)-1].name
	if one, err := choose(sections, last); err != nil || len(one) != 1 || one[0].name != last {
		t.Errorf("got %v, %v, want %s", one, err, last)
	}
	if _, err := choose(sections, "overhead,nothing"); err == nil {
		t.Error("a section that is not there was chosen")
	}
}
