package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redisstore"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// selection is which namespaces are looked at, and how they are shown.
type selection struct {
	connection
	all, json bool
}

func (s *selection) define(flags *flag.FlagSet) {
	s.connection.define(flags)
	flags.BoolVar(&s.all, "all", false, "all namespaces in which a process listens at present")
	flags.BoolVar(&s.json, "json", false, "JSON, for programs")
}

func setupLs(flags *flag.FlagSet) func(context.Context, *env, []string) error {
	var s selection
	s.define(flags)
	return func(ctx context.Context, e *env, rest []string) error {
		if len(rest) > 0 {
			return usagef("it takes no arguments, and got %q", rest)
		}
		client, err := s.open()
		if err != nil {
			return err
		}
		defer client.Close()
		found, err := s.list(ctx, client)
		if err != nil {
			return s.hide(err)
		}
		if s.json {
			return writeJSON(e.out, found.entries())
		}
		found.write(e.out, s.all)
		if len(found.entries()) == 0 && !s.all {
			s.hint(ctx, e.out, client)
		}
		return nil
	}
}

// entry is one key, or one scope of a key, that is not healthy. Its JSON is stable: fields
// are added, and neither renamed nor removed.
type entry struct {
	Namespace string     `json:"namespace"`
	Key       string     `json:"key"`
	Scope     entryScope `json:"scope"`
	// Record is what clear and explain call it.
	Record string `json:"record"`
	Phase  string `json:"phase"`
	// Until is when the phase ends, and Left how much of it is left, in ms.
	Until time.Time `json:"until,omitzero"`
	Left  int64     `json:"left"`
	// Rate is in requests per second, where the phase is paced or rationed.
	Rate     float64   `json:"rate,omitempty"`
	Attempts int       `json:"attempts"`
	Status   int       `json:"status,omitempty"`
	Last     time.Time `json:"last,omitzero"`
	// ServerAsked reports whether the server itself asked for the hold.
	ServerAsked bool `json:"serverAsked"`
	// Witnesses is how many replicas have reported failures.
	Witnesses int    `json:"witnesses"`
	Words     string `json:"words"`
}

type entryScope struct {
	Route      string `json:"route,omitempty"`
	Credential string `json:"credential,omitempty"`
	Replica    string `json:"replica,omitempty"`
}

func entryOf(namespace string, k holdoff.KeyState, now time.Time) entry {
	e := entry{
		Namespace: namespace, Key: k.Key, Scope: entryScope(k.Scope), Record: k.Scope.Of(k.Key), Phase: k.Phase.String(),
		Attempts: k.Attempts, Status: k.Status, Last: k.Last.Round(time.Millisecond).UTC(), ServerAsked: k.ServerDirected, Witnesses: k.Witnesses, Words: words(k, now),
	}
	if k.Last.IsZero() {
		e.Last = time.Time{}
	}
	if k.Phase != holdoff.Healthy {
		e.Until, e.Left = k.Until.Round(time.Millisecond).UTC(), max(k.Until.Sub(now), 0).Milliseconds()
	}
	if k.Phase == holdoff.Paced || k.Phase == holdoff.Rationed {
		e.Rate = k.Rate
	}
	return e
}

// words is the sentence about a key, with what only an operator asks.
func words(k holdoff.KeyState, now time.Time) string {
	text := k.String()
	if k.Witnesses > 1 {
		text += fmt.Sprintf("; %d replicas have met it", k.Witnesses)
	}
	if k.Attempts > 0 && !k.Last.IsZero() {
		text += fmt.Sprintf("; last failure %s ago", span(now.Sub(k.Last)))
	}
	return text
}

// span is a duration as people say it, to the second.
func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}

// listing is what was found in each namespace.
type listing map[string][]entry

func (l listing) names() []string { return slices.Sorted(maps.Keys(l)) }

func (l listing) entries() []entry {
	all := []entry{}
	for _, name := range l.names() {
		all = append(all, l[name]...)
	}
	return all
}

func (l listing) write(w io.Writer, all bool) {
	if len(l) == 0 {
		fmt.Fprintln(w, "No process listens: there is no namespace in use.")
	}
	for _, name := range l.names() {
		indent := ""
		if all {
			fmt.Fprintf(w, "%s:\n", name)
			indent = "  "
		}
		if len(l[name]) == 0 {
			fmt.Fprintf(w, "%sNothing is held, paced or failing.\n", indent)
		}
		for _, e := range l[name] {
			fmt.Fprintf(w, "%s%s\n", indent, printable(e.Words))
		}
	}
}

// printable takes out what would change a terminal: the names of keys come from Redis,
// where any client may have written them.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}

// list reads what is not healthy: of one namespace, or of all that are in use.
func (s *selection) list(ctx context.Context, client redis.UniversalClient) (listing, error) {
	names := []string{s.namespace}
	if s.all {
		found, err := s.namespaces(ctx, client)
		if err != nil {
			return nil, fmt.Errorf("namespaces can't be found (that needs the right to PUBSUB CHANNELS): %w", err)
		}
		names = nil
		for name, versions := range found {
			if slices.Contains(versions, redisstore.WireVersion) {
				names = append(names, name)
			}
		}
	}
	found := make(listing)
	for _, name := range names {
		store, err := s.store(client, name)
		if err != nil {
			return nil, usageError{err}
		}
		entries, err := list(ctx, store, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.where(), err)
		}
		found[name] = entries
	}
	return found, nil
}

// list returns the entries of a namespace: what is held for longest first.
func list(ctx context.Context, store *redisstore.Store, namespace string) ([]entry, error) {
	records, _, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	entries := make([]entry, 0, len(records))
	for record, state := range records {
		key, part := scope.Split(record)
		entries = append(entries, entryOf(namespace, holdoff.KeyState{Key: key, Scope: scope.Parse(part), State: state, Shared: true}, now))
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), b.Until.Compare(a.Until), cmp.Compare(a.Record, b.Record))
	})
	return entries, nil
}

// rank orders phases for people: first what stops requests.
func rank(e entry) int {
	switch e.Phase {
	case holdoff.Held.String():
		return 0
	case holdoff.Healthy.String():
		return 2
	}
	return 1
}

// hint says which namespaces are in use, to an operator who may have taken the wrong one.
func (s *selection) hint(ctx context.Context, w io.Writer, client redis.UniversalClient) {
	found, err := s.namespaces(ctx, client)
	if err != nil || len(found) == 0 || slices.Contains(found[s.namespace], redisstore.WireVersion) {
		return
	}
	fmt.Fprintf(w, "No process listens in the namespace %q. In use: %s\n", s.namespace, printable(strings.Join(slices.Sorted(maps.Keys(found)), ", ")))
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
