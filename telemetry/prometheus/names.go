package holdoffprom

import (
	"strings"
	"sync"
)

const other = "other"

// names are the values of a label that may have their own series: the first max
// of them that are used. All that come later are other.
type names struct {
	max int

	mu    sync.RWMutex
	taken map[string]string // as it came -> as it is shown
}

// of returns the label value for name, which takes one of the places if there is
// one left.
func (n *names) of(name string) string {
	n.mu.RLock()
	value, ok := n.taken[name]
	full := len(n.taken) >= n.max
	n.mu.RUnlock()
	switch {
	case ok:
		return value
	case full:
		return other
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if value, ok = n.taken[name]; ok {
		return value
	}
	if len(n.taken) >= n.max {
		return other
	}
	if n.taken == nil {
		n.taken = make(map[string]string)
	}
	value = strings.ToValidUTF8(name, "\uFFFD") // a label value must be
	n.taken[strings.Clone(name)] = value
	return value
}

// known returns the label value for name without taking a place: keys that only
// other replicas use are not worth one.
func (n *names) known(name string) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if value, ok := n.taken[name]; ok {
		return value
	}
	return other
}
