package storetest

import (
	"context"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
)

// register is as small as a store can be that has a lock: Records in a map. Where
// add or commit are set, it is wrong in that.
type register struct {
	add    func(rec *holdoff.Record, r report, now time.Time) reply
	commit func(rec *holdoff.Record, d decision, now time.Time) reply

	mu      sync.Mutex // guards what follows
	keys    map[string]*registered
	version uint64
}

type registered struct {
	record   holdoff.Record
	version  uint64 // of the last change
	watchers map[*func(state)]bool
}

func (s *register) key(name string) *registered {
	if s.keys == nil {
		s.keys = make(map[string]*registered)
	}
	if s.keys[name] == nil {
		s.keys[name] = &registered{watchers: make(map[*func(state)]bool)}
	}
	return s.keys[name]
}

func (s *register) Report(_ context.Context, key string, r report) (reply, error) {
	return s.update(key, func(rec *holdoff.Record, now time.Time) reply {
		if s.add != nil {
			return s.add(rec, r, now)
		}
		return rec.Add(r, now, time.Hour)
	})
}

func (s *register) Commit(_ context.Context, key string, d decision) (reply, error) {
	return s.update(key, func(rec *holdoff.Record, now time.Time) reply {
		if s.commit != nil {
			return s.commit(rec, d, now)
		}
		return rec.Commit(d, now)
	})
}

func (s *register) update(key string, change func(*holdoff.Record, time.Time) reply) (reply, error) {
	s.mu.Lock()
	k := s.key(key)
	got := change(&k.record, time.Now())
	var watchers []func(state)
	if got.Changed {
		s.version++
		k.version = s.version
		for w := range k.watchers {
			watchers = append(watchers, *w)
		}
	}
	got.Snapshot.Version = k.version
	s.mu.Unlock()
	told := got.Snapshot
	told.Permits = 0
	for _, changed := range watchers {
		changed(told)
	}
	return got, nil
}

func (s *register) Watch(key string, changed func(state)) (stop func()) {
	s.mu.Lock()
	k := s.key(key)
	k.watchers[&changed] = true
	told := k.record.Snapshot()
	told.Version = k.version
	s.mu.Unlock()
	if !told.Expired(time.Now()) {
		changed(told)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(k.watchers, &changed)
	}
}
