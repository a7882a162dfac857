package holdoff

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/scope"
)

// KeyState is what is known of one key, or of one scope of it: see [Transport.Keys].
type KeyState struct {
	Key string
	// Scope is the part of the key that this is about; zero for all of it.
	Scope Scope
	State
	// Shared reports whether the store says so, for the fleet; else it is what this
	// process has found by itself.
	Shared bool
	// Witness reports whether this process has itself met a failure since the key was
	// last healthy; else another replica has reported it.
	Witness bool
	// Waiters is how many requests of this process stand in line.
	Waiters int
	// Retries is how many retries the key's budget has room for: -1 where there
	// is no bound, or nothing was sent from here.
	Retries int
}

// String says in words how the key stands, as in "/v1/search of https://api.example.com is
// held for 28 s more: 429 Too Many Requests, the server asked for it".
func (s KeyState) String() string {
	var b strings.Builder
	if part := s.Scope.Words(); part != "" {
		b.WriteString(part + " of ")
	}
	b.WriteString(s.Key + " " + s.stands())
	var why []string
	switch {
	case s.Status != 0:
		why = append(why, statusWords(s.Status))
	case s.Attempts > 0:
		why = append(why, "no response")
	}
	if s.Phase == Held && s.ServerDirected {
		why = append(why, "the server asked for it")
	}
	if s.Attempts > 1 {
		why = append(why, fmt.Sprintf("%d failed", s.Attempts))
	}
	if len(why) > 0 {
		b.WriteString(": " + strings.Join(why, ", "))
	}
	if s.Waiters > 0 {
		fmt.Fprintf(&b, "; waiting: %d", s.Waiters)
	}
	return b.String()
}

// stands is what String says of the phase.
func (s KeyState) stands() string {
	switch s.Phase {
	case Held:
		if left := time.Until(s.Until); left > 0 {
			return "is held for " + leftWords(left) + " more"
		}
		return "was held, and the next request tries it"
	case Probing:
		return "is tried with one request"
	case Ramping:
		return "is coming back, a few requests at a time"
	case Counted:
		return "is open, and what it refuses is counted"
	case Paced:
		return fmt.Sprintf("is paced at what it takes, %.3g per second", s.Rate)
	case Rationed:
		return fmt.Sprintf("is rationed until its quota resets, at %.3g per second", s.Rate)
	case Healthy:
		if s.Attempts > 0 {
			return "is open, and failing"
		}
		return "is open"
	}
	return "is in " + s.Phase.String()
}

// leftWords is a duration as people say it.
func leftWords(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 10*time.Minute:
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}

// Keys yields the keys, and scopes of keys, that are held or failing, or for which requests wait: why
// nothing is being sent. What the store knows of keys that this process has not
// used is among them. The order is not defined.
func (t *Transport) Keys() iter.Seq[KeyState] {
	t.once.Do(t.init)
	return func(yield func(KeyState) bool) {
		used := make(map[string]bool)
		for k := range t.table.Keys() {
			for _, seen := range k.Inspect() {
				used[seen.Scope.Of(k.Text())] = true
				s := KeyState{
					Key: k.Text(), Scope: seen.Scope, State: seen.State, Shared: seen.Shared, Witness: seen.Witness,
					Waiters: seen.Waiters, Retries: k.Budget.Left(t.retryBudget()),
				}
				if !yield(s) {
					return
				}
			}
		}
		store, ok := t.Store.(interface {
			All() iter.Seq2[string, State]
		})
		if !ok || t.invalid != nil {
			return
		}
		for record, state := range store.All() {
			if !used[record] && !yield(keyStateOf(record, state)) {
				return
			}
		}
	}
}

// keyStateOf is what a store's record says of a key or a scope of it.
func keyStateOf(record string, state State) KeyState {
	key, part := scope.Split(record)
	return KeyState{Key: key, Scope: scope.Parse(part), State: state, Shared: true, Retries: -1}
}
