// Command report measures holdoff and its peers, and writes what it finds: tables
// to standard output and into docs/BENCHMARKS.md, the figures as JSON, plots of them,
// and a few of them into the README. Run it from the root of the repository, on a
// machine with nothing else to do:
//
//	go -C bench run ./cmd/...
//
// What needs a redis-server is left out where there is none. The sections plots and
// figures are made of what the others have left. A random server in trouble is run again,
// with a timeline of what goes on, by
//
//	go -C bench run ./cmd/... -draw 7 -contenders holdoff
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/go-holdoff/holdoff/bench/random"
	"github.com/go-holdoff/holdoff/bench/real"
	"github.com/go-holdoff/holdoff/bench/report"
)

// section is a part of the document, between its markers.
type section struct {
	name string
	run  func(ctx context.Context, out *report.Out) error
}

// sections returns all, in the order of the document.
func sections(o random.Options) []section {
	return []section{
		{"overhead", overheadSection},
		{"coordination", coordinationSection},
		{"virtual", virtualSection},
		{"random", func(ctx context.Context, out *report.Out) error { return randomSection(ctx, out, o) }},
		{"real", realSection},
		{"plots", plotsSection},
		{"figures", figuresSection},
	}
}

func main() {
	if os.Getenv(real.ReplicaEnv) != "" {
		os.Exit(real.Replica(os.Stdin, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	only := flags.String("only", "", "the sections to run, separated by commas, of: "+names()+" (default all)")
	quick := flags.Bool("quick", false, "run briefly, to see that it works: the figures are only printed")
	dir := flags.String("out", "results", "the directory for the figures as JSON")
	doc := flags.String("doc", "../docs/BENCHMARKS.md", "the document for the tables")
	readme := flags.String("readme", "../README.md", "the document for the figures")
	images := flags.String("images", "../docs/img", "the directory for the plots")
	var draws random.Options
	flags.IntVar(&draws.Draws, "draws", 200, "how many random servers are drawn")
	flags.Uint64Var(&draws.Seed, "seed", 1, "the seed of the first of them; the others follow")
	flags.StringVar(&draws.Contenders, "contenders", "", "a regular expression: those that meet the random servers (default all; else the figures are only printed)")
	draw := flags.Uint64("draw", 0, "print a timeline of the random server with this seed, and nothing else")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *draw != 0 {
		draws.Seed = *draw
		return replay(ctx, draws)
	}
	out := &report.Out{Quick: *quick, Print: os.Stdout, Dir: *dir, Doc: *doc, Readme: *readme, Images: *images}
	if *quick {
		temporary, err := os.MkdirTemp("", "report")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		out.Dir, out.Doc, out.Readme, out.Images = temporary, "", "", temporary
	}
	chosen, err := choose(sections(draws), *only)
	if err != nil {
		return err
	}
	for _, s := range chosen {
		if err := s.run(ctx, out); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// choose returns the sections that only names, or all.
func choose(all []section, only string) ([]section, error) {
	if only == "" {
		return all, nil
	}
	var chosen []section
	for name := range strings.SplitSeq(only, ",") {
		known := false
		for _, s := range all {
			if s.name == name {
				chosen, known = append(chosen, s), true
			}
		}
		if !known {
			return nil, fmt.Errorf("there is no section %q; there are: %s", name, names())
		}
	}
	return chosen, nil
}

func names() string {
	var all []string
	for _, s := range sections(random.Options{}) {
		all = append(all, s.name)
	}
	return strings.Join(all, ", ")
}
