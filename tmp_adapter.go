package holdoff

import "crypto/rand"

type tmpStore struct{ Store }

func (t tmpStore) Watch(key string, f func(string, State)) func() {
	if m, ok := t.Store.(*MemoryStore); ok {
		m.mu.Lock()
		if m.tmp == nil {
			m.tmp = make(map[string]map[*func(string, State)]bool)
		}
		if m.tmp[key] == nil {
			m.tmp[key] = make(map[*func(string, State)]bool)
		}
		m.tmp[key][&f] = true
		m.mu.Unlock()
		return func() {}
	}
	return t.Store.Watch(key, func(s State) { f("", s) })
}

func (t tmpStore) Replica() string {
	if n, ok := t.Store.(interface{ Replica() string }); ok {
		return n.Replica()
	}
	return rand.Text()
}
