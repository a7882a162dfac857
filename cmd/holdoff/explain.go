package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redisstore"
	"github.com/go-holdoff/holdoff/internal/scope"
)

func setupExplain(flags *flag.FlagSet) func(context.Context, *env, []string) error {
	var c connection
	c.define(flags)
	asJSON := flags.Bool("json", false, "JSON, for programs")
	return func(ctx context.Context, e *env, rest []string) error {
		record := strings.Join(rest, " ")
		if record == "" {
			return usagef("it takes a key, as holdoff ls shows it")
		}
		client, err := c.open()
		if err != nil {
			return err
		}
		defer client.Close()
		store, err := c.store(client, c.namespace)
		if err != nil {
			return usageError{err}
		}
		changes, err := store.Changes(ctx, record)
		if err != nil {
			return c.hide(fmt.Errorf("%s: %w", c.where(), err))
		}
		now, err := list(ctx, store, c.namespace)
		if err != nil {
			return c.hide(fmt.Errorf("%s: %w", c.where(), err))
		}
		now = inside(record, now)
		if *asJSON {
			return writeJSON(e.out, storyOf(c.namespace, changes))
		}
		narrate(e.out, storyOf(c.namespace, changes), record, now)
		return nil
	}
}

// event is what became of a key, or a scope of it, at a time. Its JSON is stable.
type event struct {
	Time   time.Time `json:"time"`
	Change string    `json:"change"` // phase, cleared
	entry
}

// storyOf puts changes into words.
func storyOf(namespace string, changes []redisstore.Change) []event {
	story := []event{}
	for _, change := range changes {
		key, part := scope.Split(change.Record)
		k := holdoff.KeyState{Key: key, Scope: scope.Parse(part), State: change.State, Shared: true}
		kind := "phase"
		e := entryOf(namespace, k, change.At)
		e.Words = then(k, change.At)
		if change.State.Cleared > 0 && change.State.Cleared == change.State.Version {
			kind, e.Words = "cleared", "an operator released it"
			if change.Record == "" {
				e.Words = "an operator released everything"
			}
		}
		story = append(story, event{Time: change.At.UTC(), Change: kind, entry: e})
	}
	return story
}

// then says how a key stood at a time.
func then(k holdoff.KeyState, at time.Time) string {
	// What String says of the time that is left is as of now.
	k.Until = k.Until.Add(time.Since(at)).Add(50 * time.Millisecond)
	return strings.NewReplacer(" more: ", ": ", k.Scope.Words()+" of ", "", k.Key+" ", "").Replace(k.String())
}

// narrate tells a story to people, with how it ends.
func narrate(w io.Writer, story []event, record string, now []entry) {
	if len(story) == 0 {
		fmt.Fprintf(w, "No change of %s is known: of a namespace, the last 1,000 are kept, for a day.\n", printable(record))
	}
	day := ""
	for _, e := range story {
		at := e.Time.Local()
		if date := at.Format(time.DateOnly); date != day {
			day = date
			fmt.Fprintf(w, "%s\n", day)
		}
		part := ""
		if e.Record != record && e.Record != "" {
			part = strings.TrimPrefix(e.Record, e.Key+" ") + ": "
		}
		fmt.Fprintf(w, "%s  %s%s\n", at.Format("15:04:05.000"), printable(part), printable(e.Words))
	}
	for _, e := range now {
		fmt.Fprintf(w, "Now: %s\n", printable(e.Words))
	}
	if len(now) == 0 {
		fmt.Fprintf(w, "Now: nothing of it is held, paced or failing.\n")
	}
}
