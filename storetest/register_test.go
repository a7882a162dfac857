package storetest

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"
)

// register is as small as a store can be that has a lock: Records in a map. Where
// add or commit are set, it is wrong in that.
type register struct {
	skew time.Duration // of its clock
	text bool          // its records are kept as JSON

	add    func(rec *holdoff.Record, r report, now time.Time) reply
	commit func(rec *holdoff.Record, d decision, now time.Time) reply

	mu      sync.Mutex // guards what follows
	keys    map[string]*registered
	version uint64
}

type registered struct {
	record   holdoff.Record
	version  uint64 // of the last change
	watchers map[*func(string, state)]bool
}

func (s *register) key(name string) *registered {
	if s.keys == nil {
		s.keys = make(map[string]*registered)
	}
	if s.keys[name] == nil {
		s.keys[name] = &registered{watchers: make(map[*func(string, state)]bool)}
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
	if s.text {
		k.record = reread(k.record)
	}
	got := change(&k.record, time.Now().Add(s.skew))
	got.Snapshot = s.local(got.Snapshot)
	var watchers []func(string, state)
	base, scope, _ := strings.Cut(key, " ")
	if got.Changed {
		s.version++
		k.version = s.version
		for w := range s.key(base).watchers {
			watchers = append(watchers, *w)
		}
	}
	got.Snapshot.Version = k.version
	s.mu.Unlock()
	told := got.Snapshot
	told.Permits = 0
	for _, changed := range watchers {
		changed(scope, told)
	}
	return got, nil
}

func (s *register) Watch(key string, changed func(string, state)) (stop func()) {
	s.mu.Lock()
	k := s.key(key)
	k.watchers[&changed] = true
	told := make(map[string]state)
	for name, other := range s.keys {
		if base, scope, _ := strings.Cut(name, " "); base == key {
			got := s.local(other.record.Snapshot())
			got.Version = other.version
			told[scope] = got
		}
	}
	s.mu.Unlock()
	for scope, got := range told {
		if !got.Expired(time.Now()) {
			changed(scope, got)
		}
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(k.watchers, &changed)
	}
}

// local returns a state with the times of this process's clock.
func (s *register) local(got state) state {
	for _, t := range []*time.Time{&got.Until, &got.Last} {
		if !t.IsZero() {
			*t = t.Add(-s.skew)
		}
	}
	return got
}

// reread writes a record down and reads it.
func reread(rec holdoff.Record) holdoff.Record {
	text, err := json.Marshal(rec)
	if err != nil {
		panic(err)
	}
	var again holdoff.Record
	if err := json.Unmarshal(text, &again); err != nil {
		panic(err)
	}
	return again
}
