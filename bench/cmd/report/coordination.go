package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-holdoff/holdoff/bench/coordination"
	"github.com/go-holdoff/holdoff/bench/redisserver"
	"github.com/go-holdoff/holdoff/bench/report"
)

func coordinationSection(ctx context.Context, out *report.Out) error {
	srv, stop, err := redisserver.Start()
	if errors.Is(err, redisserver.ErrNone) {
		fmt.Fprintln(out.Print, "\nThe section coordination is left out:", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer stop()
	opts := coordination.Options{Addr: srv.Addr, Time: 500 * time.Millisecond, Repetitions: 5, Progress: os.Stderr}
	if out.Quick {
		opts.Time, opts.Repetitions = 5*time.Millisecond, 1
	}
	rows, err := coordination.Run(ctx, opts)
	if err != nil {
		return err
	}
	versions := coordination.Versions()
	if versions["redis-server"], err = redisserver.Version(ctx, srv.Addr); err != nil {
		return err
	}
	return out.Put("coordination", rows, versions, coordination.Markdown(rows))
}
