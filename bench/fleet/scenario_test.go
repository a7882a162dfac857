package fleet

import (
	"strings"
	"testing"
)

func TestScenarios(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range Scenarios {
		if s.Name == "" || seen[s.Name] || s.About == "" || strings.Contains(s.Name, "|") {
			t.Errorf("%q has no name of its own, or says nothing of itself", s.Name)
		}
		seen[s.Name] = true
		if s.Server() == nil {
			t.Errorf("%s has no server", s.Name)
		}
		if offered := s.Work.Offered() * max(s.Work.Step.Factor, 1); s.Capacity <= 0 || s.Capacity > offered {
			t.Errorf("%s: a capacity of %v for %v offered", s.Name, s.Capacity, offered)
		}
		if s.Released >= s.Work.Sending || s.Unreachable >= s.Work.Replicas {
			t.Errorf("%s: nobody sees the end of its trouble", s.Name)
		}
	}
}
