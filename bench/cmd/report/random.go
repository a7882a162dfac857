package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/go-holdoff/holdoff/bench/figures"
	"github.com/go-holdoff/holdoff/bench/plots"
	"github.com/go-holdoff/holdoff/bench/random"
	"github.com/go-holdoff/holdoff/bench/report"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

// randomSection runs the same draws each time, or, where a brief run is asked for, a few new
// ones, and then fails where they are off by far.
func randomSection(ctx context.Context, out *report.Out, o random.Options) error {
	if out.Quick {
		o.Draws, o.Seed = 10, uint64(time.Now().Unix())
	}
	rows, err := random.Report(ctx, o, os.Stderr)
	if err != nil {
		return err
	}
	if o.Contenders != "" { // not the document's table
		fmt.Fprintln(out.Print, random.Markdown(rows))
		return nil
	}
	if err := out.Put("random", rows, virtual.Versions(), random.Markdown(rows)); err != nil {
		return err
	}
	if err := out.Write(out.Readme, "random", figures.Random(rows)); err != nil {
		return err
	}
	name, err := plots.Distribution(out.Images, rows)
	if err != nil {
		return err
	}
	fmt.Fprintln(out.Print, "\nDrawn:", name)
	if out.Quick {
		return random.Check(rows)
	}
	return nil
}

// replay prints what went on in one draw.
func replay(ctx context.Context, o random.Options) error {
	text, err := random.Replay(ctx, o, os.Stderr)
	fmt.Print(text)
	return err
}
