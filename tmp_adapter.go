package holdoff

import "crypto/rand"

type tmpStore struct{ Store }

func (t tmpStore) Watch(key string, f func(string, State)) func() {
	return t.Store.Watch(key, func(s State) { f("", s) })
}

func (t tmpStore) Replica() string {
	if n, ok := t.Store.(interface{ Replica() string }); ok {
		return n.Replica()
	}
	return rand.Text()
}
