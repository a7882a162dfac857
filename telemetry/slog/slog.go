// Package holdoffslog writes a Transport's events to a [slog.Logger]:
//
//	transport := &holdoff.Transport{Observe: holdoffslog.Observe(slog.Default())}
//
// Messages, attributes and levels are those of Transport.Logger, which is zap's:
// attempts and waits at DEBUG, holds at INFO, a store that begins to fail at WARN.
// Records about a request have its context, so that handlers find trace ids in it.
package holdoffslog

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-holdoff/holdoff"
)

// Observe returns a function for Transport.Observe. If logger is nil,
// [slog.Default] at the time of each event.
func Observe(logger *slog.Logger) func(context.Context, holdoff.Event) {
	return func(ctx context.Context, e holdoff.Event) {
		to := logger
		if to == nil {
			to = slog.Default()
		}
		if level := level(e.Kind); to.Enabled(ctx, level) {
			to.LogAttrs(ctx, level, e.Kind.String(), attrs(e)...)
		}
	}
}

func level(kind holdoff.EventKind) slog.Level {
	switch kind {
	case holdoff.HoldStarted, holdoff.HoldEnded, holdoff.StoreBack:
		return slog.LevelInfo
	case holdoff.StoreFailed:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func attrs(e holdoff.Event) []slog.Attr {
	list := make([]slog.Attr, 0, 12)
	list = append(list, slog.String("key", e.Key))
	if scope := e.Scope.String(); scope != "" {
		list = append(list, slog.String("scope", scope))
	}
	switch e.Kind {
	case holdoff.Attempted, holdoff.Waiting, holdoff.GaveUp:
		list = append(list, slog.String("method", e.Method), slog.Int("attempt", e.Attempt))
	case holdoff.HoldStarted, holdoff.HoldChanged, holdoff.HoldEnded:
		list = append(list, slog.String("phase", e.Phase.String()), slog.Int("hold_level", e.Level),
			slog.Int("attempts", e.Attempts), slog.Bool("shared", e.Shared))
	}
	if e.Status != 0 {
		list = append(list, slog.Int("status", e.Status))
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"duration", e.Duration}, {"wait", e.Wait}, {"waited", e.Waited}, {"hold", e.Hold}} {
		if d.d != 0 {
			list = append(list, slog.Duration(d.name, d.d.Round(time.Microsecond)))
		}
	}
	if e.Parked != "" {
		list = append(list, slog.String("parked", e.Parked))
	}
	if e.Reason != "" {
		list = append(list, slog.String("reason", e.Reason))
	}
	if e.Err != nil {
		// As text: the error itself may hold what its text was scrubbed of.
		list = append(list, slog.String("error", e.Err.Error()))
	}
	return list
}
