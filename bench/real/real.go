// Package real runs fleets of processes against servers on real sockets, which
// share through a real Redis, and counts what that costs the servers and the
// callers: package fleet's work, on the clock.
package real

import (
	"context"
	"fmt"
	"io"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

// Run makes the trials one after another, each with its contenders one after
// another: two at once would compete for the processors, and a fleet takes what a
// small machine has. Where there is no srv, what shares through one is left out.
// It tells progress of each row.
func Run(ctx context.Context, trials []Trial, srv *redistest.Server, progress io.Writer) ([]Row, error) {
	var rows []Row
	for _, t := range trials {
		for _, name := range t.Contenders {
			c, err := contenderNamed(name)
			if err != nil {
				return nil, err
			}
			if c.shares && srv == nil {
				continue
			}
			if err := flush(ctx, srv); err != nil {
				return nil, err
			}
			x := &experiment{Trial: t, contender: c, redis: srv}
			row, err := x.run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", t.Name, c.name, err)
			}
			fmt.Fprintf(progress, "%s: %s: served %d of %d, refused %d\n", t.Name, c.name, row.Served, row.Requests, row.Refused)
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// flush makes srv, if there is one, forget what the run before has left.
func flush(ctx context.Context, srv *redistest.Server) error {
	if srv == nil {
		return nil
	}
	client := redis.NewClient(&redis.Options{Addr: srv.Addr})
	defer client.Close()
	return client.FlushAll(ctx).Err()
}
