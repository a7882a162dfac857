// Package vendors recognises what [holdoff.DefaultClassify] can't: servers that
// tell in the body of a response that they throttle. A classifier must not read
// a body, so each is a RoundTripper for Transport.Base, which looks at the
// beginning of a failure's body, says in a header what it found, and hands the
// body on as it was.
//
// Most servers need none of this. What GitHub, OpenAI, Anthropic, Stripe, Slack
// and others say in headers is understood without set-up.
package vendors

import (
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/go-holdoff/holdoff"
)

// peekLimit is how much of a body is looked at. The longest of the errors that
// are looked for have their code within the first few hundred bytes.
const peekLimit = 4 << 10

// sharedBase is what a Transport without a Base sends through.
var sharedBase = sync.OnceValue(func() http.RoundTripper { return new(holdoff.Transport).WrappedRoundTripper() })

func orShared(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		return sharedBase()
	}
	return base
}

func closeIdle(base http.RoundTripper) {
	if base, ok := base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// peek returns the beginning of resp's body, which it leaves as it was.
func peek(resp *http.Response) []byte {
	if resp.Body == nil || resp.Body == http.NoBody {
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, peekLimit))
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = broken{err} // a reader need not repeat its error
	}
	resp.Body = refilled{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
	return head
}

// refilled is a body with what was taken from it put back.
type refilled struct {
	io.Reader
	io.Closer
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
