// Holdoff shows an operator what a fleet holds and why, releases it, and finds out what is
// wrong with the Redis between the replicas. It also runs a Transport beside services that
// aren't written in Go.
//
//	holdoff ls       what is held, paced or failing
//	holdoff watch    the same, live
//	holdoff clear    release it, for all replicas
//	holdoff explain  how it came to that
//	holdoff doctor   whether Redis does what a fleet needs of it
//	holdoff proxy    a Transport beside services that aren't written in Go
//
// Each flag has an environment variable: -redis-url is HOLDOFF_REDIS_URL. docs/COMMAND.md
// describes all of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/peterbourgon/ff/v3"
	"github.com/redis/go-redis/v9"
	"golang.org/x/term"
)

// command is one of the things that the program does.
type command struct {
	name, args, short string
	// setup defines flags and returns what the command does with the rest of its arguments.
	setup func(*flag.FlagSet) func(context.Context, *env, []string) error
}

var commands = []command{
	{"ls", "", "list what is held, paced or failing", setupLs},
	{"watch", "", "the same, live", setupWatch},
	{"clear", "KEY|-all", "release what the fleet holds", setupClear},
	{"explain", "KEY", "how it came to what is held", setupExplain},
	{"doctor", "", "find out whether Redis does what a fleet needs of it", setupDoctor},
	{"proxy", "", "a Transport for services that aren't written in Go", setupProxy},
}

// env is what a command has to do with the outside.
type env struct {
	in          io.Reader
	out, err    io.Writer
	interactive bool // in and out are a terminal
}

// Exit statuses, for scripts.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// usageError is an error of whoever typed the command.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	redis.SetLogger(silent{}) // what matters is in the errors
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	e := &env{in: os.Stdin, out: os.Stdout, err: os.Stderr, interactive: isTerminal(os.Stdin) && isTerminal(os.Stdout)}
	os.Exit(run(ctx, e, os.Args[1:]))
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" }

// run runs the command that args name, and returns the exit status.
func run(ctx context.Context, e *env, args []string) int {
	if len(args) == 0 || args[0] == "help" || strings.TrimLeft(args[0], "-") == "h" || strings.TrimLeft(args[0], "-") == "help" {
		usage(e.out)
		if len(args) == 0 {
			return exitUsage
		}
		return exitOK
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(ctx, e, args[1:])
		}
	}
	fmt.Fprintf(e.err, "holdoff: there is no command %q\n\n", args[0])
	usage(e.err)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "holdoff shows and changes what a fleet holds.\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  holdoff %-14s %s\n", strings.TrimSpace(c.name+" "+c.args), c.short)
	}
	fmt.Fprint(w, "\nholdoff COMMAND -h lists its flags. Each has an environment variable:\n-redis-url is HOLDOFF_REDIS_URL.\n")
}

func (c command) run(ctx context.Context, e *env, args []string) int {
	flags := flag.NewFlagSet("holdoff "+c.name, flag.ContinueOnError)
	flags.SetOutput(e.err)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: %s\n\n%s\n\n", strings.TrimSpace("holdoff "+c.name+" [flags] "+c.args), c.short)
		flags.PrintDefaults()
	}
	do := c.setup(flags)
	rest, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage // flags has said why
	}
	err = do(ctx, e, rest)
	if err == nil || (errors.Is(err, context.Canceled) && ctx.Err() != nil) {
		return exitOK
	}
	if !errors.Is(err, errSaid) {
		fmt.Fprintf(e.err, "holdoff %s: %v\n", c.name, err)
	}
	if _, wrong := errors.AsType[usageError](err); wrong {
		return exitUsage
	}
	return exitError
}

// errSaid is the error of a command that has already said what is wrong.
var errSaid = errors.New("")

// parse reads flags, which may stand before and behind other arguments, and their
// environment variables, and returns the other arguments.
func parse(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			break
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
	// Nothing is left to parse: this sets what only the environment says.
	if err := ff.Parse(flags, nil, ff.WithEnvVarPrefix("HOLDOFF")); err != nil {
		fmt.Fprintln(flags.Output(), "holdoff:", err)
		return nil, err
	}
	return rest, nil
}
