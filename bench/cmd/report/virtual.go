package main

import (
	"context"
	"fmt"
	"os"

	"github.com/go-holdoff/holdoff/bench/figures"
	"github.com/go-holdoff/holdoff/bench/plots"
	"github.com/go-holdoff/holdoff/bench/report"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

func virtualSection(ctx context.Context, out *report.Out) error {
	seeds := 5
	if out.Quick {
		seeds = 1
	}
	rows, err := virtual.Report(ctx, out.Quick, seeds, os.Stderr)
	if err != nil {
		return err
	}
	return out.Put("virtual", rows, virtual.Versions(), virtual.Markdown(rows))
}

// fleets returns the rows of the last virtual run.
func fleets(out *report.Out) (rows []virtual.Row, run report.Run, err error) {
	run, err = report.Read(out.Dir, "virtual", &rows)
	return rows, run, err
}

func plotsSection(_ context.Context, out *report.Out) error {
	rows, _, err := fleets(out)
	if err != nil {
		return err
	}
	names, err := plots.Draw(out.Images, rows)
	if err != nil {
		return err
	}
	fmt.Fprintln(out.Print, "\nDrawn:", names)
	return nil
}

func figuresSection(_ context.Context, out *report.Out) error {
	rows, run, err := fleets(out)
	if err != nil {
		return err
	}
	return out.Write(out.Readme, "figures", figures.Markdown(rows, run))
}
