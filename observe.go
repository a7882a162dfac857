package holdoff

import (
	"context"
	"time"

	"github.com/go-holdoff/holdoff/internal/admission"
	"github.com/go-holdoff/holdoff/internal/redact"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// An Event is something that a [Transport] did or learned. Events hold no query, user
// info, header or body of a request, and of its path at most the shape: see Scope.
type Event struct {
	Kind  EventKind
	Key   string // see Transport.Key
	Scope Scope  // of a hold, or of a request that is refused by one: the part of the key; zero for all of it

	// Of a request; zero in events about a hold.

	Method   string
	Attempt  int           // the number of the attempt that was made, or that is waited for
	Status   int           // status code; 0 where there was no response
	Err      error         // its text has no part of a URL that may be secret
	Reason   string        // why: a Verdict's Reason, or an Ending
	Duration time.Duration // of the attempt, until response headers
	Wait     time.Duration // the shortest time that the request will wait
	Waited   time.Duration // how long it waited: since the previous attempt, or since it began
	Parked   string        // the id of a parked request; "" if it was not parked

	// Of a hold; zero in events about a request.

	Phase    Phase
	Hold     time.Duration // how long it will last
	Level    int           // how many holds in a row came before it
	Attempts int           // failed attempts since the key was last healthy
	Shared   bool          // it is the state of the fleet, from the store; else of this process alone
}

// An EventKind says what an [Event] is about. The zap observer logs
// StoreFailed at WARN, HoldStarted, HoldEnded and StoreBack at INFO, and the
// others at DEBUG.
type EventKind int

const (
	// Attempted: an attempt got a response or an error.
	Attempted EventKind = iota
	// Waiting: a request begins to wait, for a hold or before a retry.
	Waiting
	// GaveUp: a request that could have been retried is not, or is held for longer
	// than it may wait, or its context ended while it waited.
	GaveUp
	// HoldStarted: a healthy key is held, paced or rationed.
	HoldStarted
	// HoldChanged: a hold is extended, another one follows it, or it enters
	// another phase; or counting of a healthy key begins or ends.
	HoldChanged
	// HoldEnded: the key is healthy again.
	HoldEnded
	// StoreFailed: the store began to fail. Holds are this process's own until
	// StoreBack.
	StoreFailed
	// StoreBack: the store works again.
	StoreBack
)

// String returns the kind as it is logged.
func (k EventKind) String() string {
	return wordOf("event", int(k), "attempt", "waiting", "gave up", "hold started", "hold changed", "hold ended", "store failed", "store back")
}

// eventOf makes an Event of a gate's change.
func eventOf(c admission.Change) Event {
	kinds := [...]EventKind{
		admission.HoldStarted: HoldStarted, admission.HoldChanged: HoldChanged, admission.HoldEnded: HoldEnded,
		admission.StoreFailed: StoreFailed, admission.StoreBack: StoreBack,
	}
	return Event{
		Kind: kinds[c.Kind], Key: c.Key, Scope: c.Scope, Err: c.Err, Phase: c.Phase, Hold: c.Hold,
		Level: c.Level, Attempts: c.Attempts, Status: c.Status, Shared: c.Shared,
	}
}

// watcher passes events on to the logger and to the user's hook. Both may be
// absent, which costs nothing.
type watcher struct {
	log  *zap.Logger
	hook func(context.Context, Event)
}

// wants reports whether events below INFO are used at all.
func (w *watcher) wants() bool {
	return w.hook != nil || (w.log != nil && w.log.Core().Enabled(zapcore.DebugLevel))
}

func (w *watcher) observe(ctx context.Context, e Event) {
	e.Err = redact.Error(e.Err)
	if w.log != nil {
		w.write(e)
	}
	if w.hook != nil {
		w.hook(ctx, e)
	}
}

func (w *watcher) write(e Event) {
	level := zapcore.DebugLevel
	switch e.Kind {
	case HoldStarted, HoldEnded, StoreBack:
		level = zapcore.InfoLevel
	case StoreFailed:
		level = zapcore.WarnLevel
	}
	entry := w.log.Check(level, e.Kind.String())
	if entry == nil {
		return
	}
	fields := make([]zap.Field, 0, 11)
	fields = append(fields, zap.String("key", e.Key))
	if scope := e.Scope.String(); scope != "" {
		fields = append(fields, zap.String("scope", scope))
	}
	switch e.Kind {
	case Attempted, Waiting, GaveUp:
		fields = append(fields, zap.String("method", e.Method), zap.Int("attempt", e.Attempt))
	case HoldStarted, HoldChanged, HoldEnded:
		// Not "level": zap's JSON has its own under that name.
		fields = append(fields, zap.Stringer("phase", e.Phase), zap.Int("hold_level", e.Level), zap.Int("attempts", e.Attempts), zap.Bool("shared", e.Shared))
	}
	if e.Status != 0 {
		fields = append(fields, zap.Int("status", e.Status))
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"duration", e.Duration}, {"wait", e.Wait}, {"waited", e.Waited}, {"hold", e.Hold}} {
		if d.d != 0 {
			fields = append(fields, zap.Duration(d.name, d.d.Round(time.Microsecond)))
		}
	}
	if e.Parked != "" {
		fields = append(fields, zap.String("parked", e.Parked))
	}
	if e.Reason != "" {
		fields = append(fields, zap.String("reason", e.Reason))
	}
	if e.Err != nil {
		fields = append(fields, zap.String("error", e.Err.Error()))
	}
	entry.Write(fields...)
}
