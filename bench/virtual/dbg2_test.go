package virtual

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/bench/fleet"
)

func TestDbgTrace(t *testing.T) {
	for _, s := range fleet.Scenarios {
		if s.Name != os.Getenv("ROW") {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			i := 0
			run(t.Context(), s, Contender{"x", func(base http.RoundTripper, store holdoff.Store) http.RoundTripper {
				i++
				n := i
				tr := &holdoff.Transport{Base: base, Store: store}
				if n == 3 {
					tr.Observe = func(_ context.Context, e holdoff.Event) {
						if e.Kind >= holdoff.HoldStarted && (os.Getenv("ALL") != "" || e.Scope.Route == "") {
							fmt.Println(time.Since(begun), e.Kind, e.Scope, e.Phase, e.Hold, e.Shared)
						}
					}
				}
				return tr
			}}, 1)
		})
	}
}
