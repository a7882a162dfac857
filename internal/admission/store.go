package admission

import (
	"context"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// A Store shares the states of keys among replicas: a register and a change feed.
type Store interface {
	Register
	// Watch calls changed for the record of the key, with scope "", and for those of
	// its scopes.
	Watch(key string, changed func(scope string, s hold.Snapshot)) (stop func())
}

// A Register keeps records, under the names of keys and of their scopes.
type Register interface {
	Report(ctx context.Context, record string, r hold.Report) (hold.Reply, error)
	Commit(ctx context.Context, record string, d hold.Decision) (hold.Reply, error)
}

// Exchange reports to the store, and decides where that is due.
func Exchange(ctx context.Context, store Register, record string, r hold.Report) (hold.Reply, error) {
	reply, err := store.Report(ctx, record, r)
	if err != nil || !reply.Decide {
		return reply, err
	}
	return store.Commit(ctx, record, hold.Advance(reply.Record, r, reply.Now, reply.MaxHold, jitter.Uniform))
}

// A Change is what watchers learn about a key, or about the store.
type Change struct {
	Kind     ChangeKind
	Key      string
	Scope    scope.Scope // of the key; zero for all of it
	Err      error       // of the store
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
	Scope    scope.Scope // of the key; zero for all of it
	Until    time.Time   // when a request may be sent again, at the earliest
	Attempts int
	Status   int
	RestOpen bool   // requests from outside the scope are sent
	Limit    string // the name of the limit that is used up; "" where it is a hold
}

// Error says until when the key is held.
func (r *Rejection) Error() string { return "held until " + r.Until.Format(time.RFC3339Nano) }
