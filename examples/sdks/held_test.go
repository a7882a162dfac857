package sdks_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// A call that meets a hold too long to be waited for fails without being sent,
// and its error says when to come back, through all that SDKs wrap it in.
func TestHeldErrorIsFound(t *testing.T) {
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refusal := answer{http.StatusTooManyRequests, http.Header{"Retry-After": {"200"}}, s.down}
				server := serve(t, first(refusal, s))
				read, _ := s.open(t, server, setting{holdoff: 4, copied: true})
				short, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				read.do(short) // client-go would wait for all of it
				err := read.do(t.Context())
				held, ok := errors.AsType[*holdoff.HeldError](err)
				if !ok {
					t.Fatalf("got %T: %v; want a HeldError in it", err, err)
				}
				if server.sends() != 1 || held.RetryAfter() < 100*time.Second {
					t.Errorf("got %d sends and %v to go, want 1 and over 100s", server.sends(), held.RetryAfter())
				}
			})
		})
	}
}
