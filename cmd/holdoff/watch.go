package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/go-holdoff/holdoff"
)

func setupWatch(flags *flag.FlagSet) func(context.Context, *env, []string) error {
	var s selection
	s.define(flags)
	interval := flags.Duration("interval", time.Second, "how often Redis is asked")
	return func(ctx context.Context, e *env, rest []string) error {
		if len(rest) > 0 {
			return usagef("it takes no arguments, and got %q", rest)
		}
		if *interval < 100*time.Millisecond {
			return usagef("-interval is %v; it must be 100ms or more", *interval)
		}
		client, err := s.open()
		if err != nil {
			return err
		}
		defer client.Close()
		var show func(listing, error) error
		if e.interactive && !s.json {
			show = (&table{env: e, all: s.all, where: s.where()}).show
		} else {
			show = (&changes{env: e, json: s.json, all: s.all}).show
		}
		for {
			found, err := s.list(ctx, client)
			if ctx.Err() != nil {
				return nil
			}
			if err := show(found, s.hide(err)); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(*interval):
			}
		}
	}
}

// table redraws a list on a terminal.
type table struct {
	env   *env
	all   bool
	where string
}

func (t *table) show(found listing, err error) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s at %s; Ctrl-C ends it\n\n", t.where, time.Now().Format(time.TimeOnly))
	if err != nil {
		fmt.Fprintln(&text, err)
	} else {
		found.write(&text, t.all)
	}
	width, height, sizeErr := term.GetSize(int(os.Stdout.Fd()))
	if sizeErr != nil {
		width, height = 80, 24
	}
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	if hidden := len(lines) - (height - 1); hidden > 0 {
		lines = append(lines[:len(lines)-hidden-1], fmt.Sprintf("and %d more", hidden+1))
	}
	var screen strings.Builder
	screen.WriteString("\x1b[H") // to the top: what stays the same does not flicker
	for _, line := range lines {
		if runes := []rune(line); len(runes) > width {
			line = string(runes[:max(width-1, 0)]) + "…"
		}
		screen.WriteString(line + "\x1b[K\r\n")
	}
	screen.WriteString("\x1b[J")
	_, err = fmt.Fprint(t.env.out, screen.String())
	return err
}

// changes writes a line for each change, where nothing can be redrawn.
type changes struct {
	env       *env
	json, all bool

	known map[string]entry // by namespace and record
	err   string           // the last one, which is said once
}

// change is a line of JSON: an entry that began, that is another now, or that ended.
type change struct {
	Time   time.Time `json:"time"`
	Change string    `json:"change"` // begins, changes, ends
	entry
}

func (c *changes) show(found listing, err error) error {
	if err != nil {
		if c.err != err.Error() {
			c.err = err.Error()
			fmt.Fprintf(c.env.err, "holdoff watch: %v\n", err)
		}
		return nil
	}
	c.err = ""
	now := make(map[string]entry)
	for _, e := range found.entries() {
		id := e.Namespace + " " + e.Record
		now[id] = e
		switch before, known := c.known[id]; {
		case !known:
			err = c.write("begins", e)
		case differs(before, e):
			err = c.write("changes", e)
		}
		if err != nil {
			return err
		}
	}
	for id, e := range c.known {
		if _, still := now[id]; !still {
			e.Phase, e.Left, e.Until, e.Rate = "healthy", 0, time.Time{}, 0
			e.Words = holdoff.KeyState{Key: e.Key, Scope: holdoff.Scope(e.Scope)}.String()
			if err := c.write("ends", e); err != nil {
				return err
			}
		}
	}
	c.known = now
	return nil
}

// differs reports whether people want to know: that time passes they know.
func differs(a, b entry) bool {
	longer := b.Until.Sub(a.Until)
	return a.Phase != b.Phase || a.Status != b.Status || (b.Phase == "held" && longer.Abs() > time.Second)
}

func (c *changes) write(kind string, e entry) error {
	at := time.Now()
	if c.json {
		return json.NewEncoder(c.env.out).Encode(change{Time: at.Round(time.Millisecond).UTC(), Change: kind, entry: e})
	}
	name := ""
	if c.all {
		name = e.Namespace + ": "
	}
	_, err := fmt.Fprintf(c.env.out, "%s %s%s\n", at.Format(time.TimeOnly), name, printable(e.Words))
	return err
}
