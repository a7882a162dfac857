package virtual

import (
	"context"
	"fmt"
	"io"

	"github.com/go-holdoff/holdoff/bench/bubble"
)

// Report makes all runs, with so many seeds, and returns their rows.
func Report(ctx context.Context, quick bool, seeds int, progress io.Writer) (rows []Row, err error) {
	fmt.Fprintf(progress, "virtual: %d rows, with %d seeds each\n", len(plan(quick)), seeds)
	err = bubble.Run(ctx, "virtual", &rows, progress, fmt.Sprintf("-seeds=%d", seeds), fmt.Sprintf("-quick=%t", quick))
	return rows, err
}
