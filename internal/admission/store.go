package admission

import (
	"context"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
)

// A Store shares the states of keys among replicas: a register and a change feed.
type Store interface {
	Report(ctx context.Context, key string, r hold.Report) (hold.Reply, error)
	Commit(ctx context.Context, key string, d hold.Decision) (hold.Reply, error)
	Watch(key string, changed func(hold.Snapshot)) (stop func())
}

// Exchange reports to the store, and decides where that is due.
func Exchange(ctx context.Context, store Store, key string, r hold.Report) (hold.Reply, error) {
	reply, err := store.Report(ctx, key, r)
	if err != nil || !reply.Decide {
		return reply, err
	}
	return store.Commit(ctx, key, hold.Advance(reply.Record, r, reply.Now, reply.MaxHold, jitter.Uniform))
}

// A Change is what watchers learn about a key, or about the store.
type Change struct {
	Kind     ChangeKind
	Key      string
	Err      error // of the store
	Phase    hold.Phase
	Hold     time.Duration // how long it lasts
	Level    int
	Attempts int
	Status   int
	Shared   bool
}

// A ChangeKind says what a Change is about.
type ChangeKind int

const (
	HoldStarted ChangeKind = iota // the key is not unlimited any more
	HoldChanged                   // it is held for longer, or in another phase
	HoldEnded                     // the key is unlimited again
	StoreFailed                   // exchanges with the store began to fail
	StoreBack                     // they succeed again
)

// A Rejection is the error of a request that is not sent because its key is held.
type Rejection struct {
	Key      string
	Until    time.Time // when a request may be sent again, at the earliest
	Attempts int
	Status   int
}

// Error says until when the key is held.
func (r *Rejection) Error() string { return "held until " + r.Until.Format(time.RFC3339Nano) }
