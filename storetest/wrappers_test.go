package storetest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"
)

// broken is a MemoryStore that does some of it wrong. Its functions see each call,
// and may change what goes in and what comes out.
type broken struct {
	holdoff.Store
	report func(s holdoff.Store, key string, r report) (reply, error)
	commit func(s holdoff.Store, key string, d decision) (reply, error)
	watch  func(s holdoff.Store, key string, changed func(string, state)) (stop func())
}

func (b broken) Report(ctx context.Context, key string, r report) (reply, error) {
	if b.report == nil {
		return b.Store.Report(ctx, key, r)
	}
	return b.report(b.Store, key, r)
}

func (b broken) Commit(ctx context.Context, key string, d decision) (reply, error) {
	if b.commit == nil {
		return b.Store.Commit(ctx, key, d)
	}
	return b.commit(b.Store, key, d)
}

func (b broken) Watch(key string, changed func(string, state)) (stop func()) {
	if b.watch == nil {
		return b.Store.Watch(key, changed)
	}
	return b.watch(b.Store, key, changed)
}

// in changes what is reported, and out what is answered.
func in(change func(r *report)) broken {
	return broken{report: func(s holdoff.Store, key string, r report) (reply, error) {
		change(&r)
		return s.Report(context.Background(), key, r)
	}}
}

func out(change func(r report, got *reply)) broken {
	return broken{report: func(s holdoff.Store, key string, r report) (reply, error) {
		got, err := s.Report(context.Background(), key, r)
		change(r, &got)
		return got, err
	}}
}

func committed(change func(d *decision)) broken {
	return broken{commit: func(s holdoff.Store, key string, d decision) (reply, error) {
		change(&d)
		return s.Commit(context.Background(), key, d)
	}}
}

func adds(add func(rec *holdoff.Record, r report, now time.Time) reply) func() holdoff.Store {
	return func() holdoff.Store { return &register{add: add} }
}

func commits(commit func(rec *holdoff.Record, d decision, now time.Time) reply) func() holdoff.Store {
	return func() holdoff.Store { return &register{commit: commit} }
}

// over returns a new store that is broken as b is.
func over(b broken) func() holdoff.Store {
	return func() holdoff.Store {
		b.Store = &holdoff.MemoryStore{}
		return b
	}
}

// out2 changes what is answered, by the record.
func out2(change func(rec *holdoff.Record, got *reply)) func() holdoff.Store {
	return adds(func(rec *holdoff.Record, r report, now time.Time) reply {
		got := rec.Add(r, now, time.Hour)
		change(rec, &got)
		return got
	})
}

// lockedWatcher is a store that calls its watchers while it holds its lock.
func lockedWatcher() holdoff.Store {
	lock := make(chan struct{}, 1)
	b := broken{Store: &holdoff.MemoryStore{}}
	b.watch = func(s holdoff.Store, key string, changed func(string, state)) func() {
		select {
		case lock <- struct{}{}:
			defer func() { <-lock }()
		case <-time.After(2 * patience): // a test must end: else it would wait for ever
		}
		return s.Watch(key, func(scope string, s state) {
			go func() { // as the feed of a real store does
				lock <- struct{}{}
				defer func() { <-lock }()
				changed(scope, s)
			}()
		})
	}
	return b
}

// mortal is a store that does nothing any more once a context has ended.
type mortal struct {
	holdoff.MemoryStore
	dead atomic.Bool
}

func (m *mortal) Report(ctx context.Context, key string, r report) (reply, error) {
	if ctx.Err() != nil {
		m.dead.Store(true)
	}
	if m.dead.Load() {
		return reply{}, nil
	}
	return m.MemoryStore.Report(ctx, key, r)
}
