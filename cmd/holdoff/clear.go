package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/redisstore"
)

// settling is how long a clear waits before it looks whether the server has refused again.
const settling = 500 * time.Millisecond

func setupClear(flags *flag.FlagSet) func(context.Context, *env, []string) error {
	var c connection
	c.define(flags)
	all := flags.Bool("all", false, "all keys of the namespace")
	yes := flags.Bool("yes", false, "do not ask, also on a terminal")
	asJSON := flags.Bool("json", false, "JSON, for programs")
	return func(ctx context.Context, e *env, rest []string) error {
		// A scope stands behind its key, after a space: with or without quotes.
		record := strings.Join(rest, " ")
		switch {
		case *all && record != "":
			return usagef("it takes a key or -all, and got both")
		case !*all && record == "":
			return usagef("it takes a key, as holdoff ls shows it, or -all")
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
		before, err := list(ctx, store, c.namespace)
		if err != nil {
			return c.hide(fmt.Errorf("%s: %w", c.where(), err))
		}
		before = inside(record, before)
		if e.interactive && !*yes && !confirmed(e, before, what(record), c.namespace) {
			return fmt.Errorf("nothing was changed")
		}
		if _, err := store.Clear(ctx, record); err != nil {
			return c.hide(fmt.Errorf("%s: %w", c.where(), err))
		}
		after := []entry{}
		select {
		case <-time.After(settling):
			if after, err = list(ctx, store, c.namespace); err != nil {
				return c.hide(fmt.Errorf("it is cleared; how it stands now is not known: %w", err))
			}
		case <-ctx.Done():
		}
		after = inside(record, after)
		if *asJSON {
			return writeJSON(e.out, cleared{Namespace: c.namespace, Record: record, All: *all, Released: before, HeldAgain: after})
		}
		tell(e.out, what(record), c.namespace, before, after)
		return nil
	}
}

// cleared is what a clear did. Its JSON is stable.
type cleared struct {
	Namespace string  `json:"namespace"`
	Record    string  `json:"record"`
	All       bool    `json:"all"`
	Released  []entry `json:"released"`  // as it was before
	HeldAgain []entry `json:"heldAgain"` // since the server has refused again
}

// inside returns the entries of a record and of what is inside it.
func inside(record string, entries []entry) []entry {
	return slices.DeleteFunc(entries, func(e entry) bool { return !redisstore.Covers(record, e.Record) })
}

// what names a record to people.
func what(record string) string {
	if record == "" {
		return "everything"
	}
	return record
}

// confirmed asks on a terminal.
func confirmed(e *env, before []entry, what, namespace string) bool {
	for _, held := range before {
		fmt.Fprintln(e.out, printable(held.Words))
	}
	if len(before) == 0 {
		fmt.Fprintf(e.out, "Redis knows of nothing that is held. Replicas may hold all the same, where its data were lost.\n")
	}
	fmt.Fprintf(e.out, "Release %s for all replicas of the namespace %q? [y/N] ", printable(what), namespace)
	answer, err := bufio.NewReader(io.LimitReader(e.in, 100)).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return err == nil && (answer == "y" || answer == "yes")
}

// tell says what was done.
func tell(w io.Writer, what, namespace string, before, after []entry) {
	for _, e := range before {
		fmt.Fprintf(w, "Released: %s\n", printable(e.Words))
	}
	if len(before) == 0 {
		fmt.Fprintf(w, "Redis knew of nothing that was held.\n")
	}
	fmt.Fprintf(w, "All replicas of the namespace %q were told to let go of %s.\n", namespace, printable(what))
	for _, e := range after {
		fmt.Fprintf(w, "Held again, since the server still refuses: %s\n", printable(e.Words))
	}
}
