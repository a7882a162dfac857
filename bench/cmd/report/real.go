package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-holdoff/holdoff/bench/peers"
	"github.com/go-holdoff/holdoff/bench/real"
	"github.com/go-holdoff/holdoff/bench/redisserver"
	"github.com/go-holdoff/holdoff/bench/report"
)

func realSection(ctx context.Context, out *report.Out) error {
	versions := make(map[string]string)
	for _, p := range peers.All[1:] { // without bare
		versions[p.Name] = p.Version
	}
	srv, stop, err := redisserver.Start()
	switch {
	case errors.Is(err, redisserver.ErrNone):
		fmt.Fprintln(out.Print, "\nWhat shares through Redis is left out of the section real:", err)
	case err != nil:
		return err
	default:
		defer stop()
		if versions["redis-server"], err = redisserver.Version(ctx, srv.Addr); err != nil {
			return err
		}
	}
	trials := real.Trials
	if out.Quick {
		trials = real.Quick
	}
	rows, err := real.Run(ctx, trials, srv, os.Stderr)
	if err != nil {
		return err
	}
	return out.Put("real", rows, versions, real.Markdown(trials, rows))
}
