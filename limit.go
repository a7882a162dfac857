package holdoff

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/go-holdoff/holdoff/internal/admission"
	"github.com/go-holdoff/holdoff/internal/limit"
)

// A Limit is one counter that a server keeps of its callers, in a unit of its own:
// requests, tokens, points. A Transport reads those of OpenAI, Azure OpenAI, Groq,
// Anthropic, Mistral, Shopify and HubSpot in answers; see [Transport.Limits] for those
// that only you know. A request waits until each limit that it draws on has its cost.
type Limit = limit.Limit

// Cost is how much a request draws on limits, by their names. A limit named "requests" is
// drawn one of by each request.
type Cost map[string]float64

// WithCost returns a context whose request draws so much on limits. Where a limit is not
// in it, what such requests cost before is assumed: those with one route or [WithScope],
// and one credential. Where limits are in tokens, the cost is the prompt's and as much of
// the answer as the server reserves, which is often the maximum that the request allows.
// The context is for one request, whose cost [Charge] may correct; nil says nothing but
// makes that possible. Numbers that are negative or not finite are ignored.
func WithCost(ctx context.Context, c Cost) context.Context {
	c = maps.Clone(c)
	maps.DeleteFunc(c, func(_ string, n float64) bool { return !(n >= 0 && n <= limit.MaxAmount) })
	return withOptions(ctx, func(o *callOptions) { o.cost, o.meter = c, new(meter) })
}

// Charge corrects the cost of the request that was sent with a context of [WithCost], once
// it is known: from the usage that the body tells, also after a stream has ended. What
// was drawn too much is given back where the server has not spoken since; and what such
// requests are assumed to cost follows. It does nothing with any other context, or while
// the request waits.
func Charge(ctx context.Context, c Cost) {
	if m := optionsOf(ctx).meter; m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.draft != nil {
			m.ledger.Charge(m.draft, c)
		}
	}
}

// WithPriority returns a context whose requests go before those of a lower priority while
// they wait for the same limit; without it, it is 0. A priority is a minute's lead: a
// request that has waited that much longer goes first. One time in ten, the request that
// came first goes, whatever its priority is.
func WithPriority(ctx context.Context, n int) context.Context {
	return withOptions(ctx, func(o *callOptions) { o.priority = min(max(n, -maxPriority), maxPriority) })
}

// maxPriority bounds priorities, so that a lead is a time.
const maxPriority = 1000

// meter is where [Charge] finds what a request drew.
type meter struct {
	mu     sync.Mutex
	ledger *admission.Ledger
	draft  *admission.Draft
}

func (m *meter) set(l *admission.Ledger, d *admission.Draft) {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.ledger, m.draft = l, d
	}
}

func (t *Transport) validateLimits() error {
	for i, l := range t.Limits {
		switch {
		case l.Name == "":
			return fmt.Errorf("holdoff: Transport.Limits[%d].Name is empty; it must say what is counted, for example \"requests\"", i)
		case !(l.Max > 0 && l.Max <= limit.MaxAmount):
			return fmt.Errorf("holdoff: Transport.Limits[%d].Max is %v; it must be above 0 and at most %v", i, l.Max, float64(limit.MaxAmount))
		case l.Per < 0:
			return fmt.Errorf("holdoff: Transport.Limits[%d].Per is %v; it must not be negative", i, l.Per)
		case (l.Per == 0) != (l.Name == admission.InFlight):
			return fmt.Errorf("holdoff: Transport.Limits[%d].Per is %v for %q; %q, and no other limit, has none", i, l.Per, l.Name, admission.InFlight)
		}
	}
	return nil
}
