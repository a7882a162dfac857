package retryapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-holdoff/holdoff"
)

// A Lot keeps parked requests, and hands each out for one attempt at a time.
// [MemoryLot] keeps them in this process, [RedisLot] in Redis, where any replica
// can replay them.
type Lot interface {
	holdoff.Lot

	// Claim reserves the attempt with that number for the caller, for as long
	// as lease. A lot never drops a request while it is claimed. The errors are
	// ErrUnknown and a *ConflictError; any other one means that the lot is out of
	// order.
	Claim(ctx context.Context, id string, attempt int, lease time.Duration) (*Claim, error)

	// Begin uses up the number of the attempt, whatever becomes of it, and renews
	// the claim: it lasts for lease from now on. The caller sends next, and must
	// have an answer before the lease ends. Begin fails with a *ConflictError
	// where the lease ran out and another caller has claimed the attempt since.
	Begin(ctx context.Context, c *Claim, lease time.Duration) error

	// Settle ends a claim with what came of it.
	Settle(ctx context.Context, c *Claim, r Result) error

	// List returns what is parked, the latest first, at most limit of them, and
	// how many there are. It reads no header and no body, and delays no Park.
	List(ctx context.Context, limit int) (parked []Summary, total int, err error)
}

// Claim is the right to make one attempt of a parked request.
type Claim struct {
	ID      string
	Attempt int
	Request *http.Request // with its body, without what is Withheld
	// Withheld names the headers, and with a "?" before them the parameters of
	// the URL's query, that a lot did not keep because they may be credentials
	// and the lot is shared. For user info of the URL it names Authorization.
	Withheld []string

	token string
}

// Result is what came of a claim.
type Result struct {
	Sent   bool // the attempt was made
	Good   bool // and the request is done with
	Status int
	Err    string
}

// Summary is what can be shown of a parked request: no header, no body, and of
// its URL no user info and no query. Each text is cut after 1 KiB.
type Summary struct {
	ID       string    `json:"id"`
	Method   string    `json:"method"`
	URL      string    `json:"url"`
	Key      string    `json:"key"`
	Size     int       `json:"size"`          // of the body, in bytes
	Attempt  int       `json:"attemptNumber"` // of the next attempt
	Ended    string    `json:"ended"`         // why it was given up
	Status   int       `json:"status,omitempty"`
	Error    string    `json:"error,omitempty"`
	Parked   time.Time `json:"parked"`
	InFlight bool      `json:"inFlight"` // a caller is making an attempt
}

// ErrUnknown is the error for an id that is not parked: it never was, it has
// expired, or it is done with.
var ErrUnknown = errors.New("retryapi: no such parked request")

// A ConflictError is the error for an attempt that is not the next one, or that
// another caller is making.
type ConflictError struct {
	Next     int  // the number of the next attempt
	InFlight bool // a caller is making it
}

// Error says which attempt is the next one.
func (e *ConflictError) Error() string {
	if e.InFlight {
		return fmt.Sprintf("retryapi: attempt %d is being made by another caller", e.Next)
	}
	return fmt.Sprintf("retryapi: the next attempt has the number %d", e.Next)
}

// newID returns 128 bits of chance.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x", b)
}
