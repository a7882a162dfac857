package holdoff

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff/internal/admission"
	"github.com/go-holdoff/holdoff/internal/hostkey"
	"github.com/go-holdoff/holdoff/internal/retrybudget"
	"github.com/hashicorp/go-cleanhttp"
	"go.uber.org/zap"
)

// Transport is an [http.RoundTripper] that sends requests through Base, sends
// again what is safe to send again, and holds all its requests to a
// host that asked for a pause. The zero value is ready for use:
//
//	client := &http.Client{Transport: &holdoff.Transport{}}
//
// A Transport is safe for concurrent use and should be shared: what it learns
// about a host serves all requests. Its fields must not be changed after the
// first request.
//
// It keeps the RoundTripper contract, except the clause that asks for a single
// transaction, as net/http's own Transport does when it resends on a new
// connection. It returns the last response with its body unread, also where
// that is a 503 and there is nothing left to try.
type Transport struct {
	// Base sends each attempt. If nil, one go-cleanhttp pooled transport that
	// all Transports of the process share.
	Base http.RoundTripper

	// MaxAttempts is how often a request is sent at most, the first time
	// included. If zero, 4. At 1 nothing is retried, but holds are still obeyed
	// and reported: for SDKs that retry (and sign) by themselves.
	MaxAttempts int

	// PerAttemptTimeout bounds the time from sending an attempt to its response
	// headers; it never cuts a body that is being read. Its error is
	// context.DeadlineExceeded to errors.Is. If zero, there is none. Upgrade
	// requests have none.
	PerAttemptTimeout time.Duration

	// MaxWait bounds how long one request waits in all: for holds, hints and
	// backoff. If zero, one minute. If negative, no request waits: one that would
	// have to wait fails at once. A wait that would end after the deadline of the
	// request's context does not start.
	MaxWait time.Duration

	// MaxHold bounds the holds that a hint of a server can cause. If zero, five
	// minutes. A response with a longer hint is returned at once.
	MaxHold time.Duration

	// Budget is the retry budget of a key: how many retries it may add to first
	// attempts in a burst. Each success earns a tenth of a retry back. Retries that waited for a
	// hold are free. If zero, 10; if negative, there is no bound.
	Budget int

	// Backoff says how long to wait before a retry if the server did not say. If
	// nil, Exponential{}. No retry is sent earlier than a hint asks for.
	Backoff Backoff

	// Classify says which outcomes are retried, and what they teach about the
	// host. If nil, [DefaultClassify]; package vendors has some for servers that
	// refuse in the body. It must not close the response's body, and must put back
	// what it reads of it. To never resend what is not idempotent, also where the
	// server refused it with a hint, wrap DefaultClassify and clear Retry unless
	// [Idempotent].
	Classify func(req *http.Request, resp *http.Response, err error) Verdict

	// Key names what a hold applies to. If nil, or where it returns "", that is
	// scheme://host[:port], normalised. Split hosts whose limits are per
	// credential or bucket. A key appears in logs: it must hold no secret. Spaces
	// and control characters in it are escaped.
	Key func(*http.Request) string

	// Route names the part of the key that a request is about. Limits are found by
	// route, by credential and by replica: see [Scope]. If nil, [RouteOf]; package
	// vendors has some for APIs whose paths do not show the limit. [WithScope] overrides
	// it, and it overrides the names that servers give to limits.
	// Where it returns "", a limit that the request meets is one of the whole key. It
	// is called only while something of the key is limited. A route appears in logs:
	// it must hold no secret. Of it 96 bytes count, and what is not printable ASCII
	// becomes "_".
	Route func(*http.Request) string

	// Store shares what is learned about a key among replicas: a [MemoryStore]
	// among the Transports of a process, a [RedisStore] among processes. If nil,
	// this Transport keeps what it learns to itself. Several Transports may use
	// one Store.
	Store Store

	// Park keeps requests that ran out of attempts, budget or time, so that they can
	// be sent later. If nil, none is kept. See package retryapi.
	Park Lot

	// Logger gets every attempt and wait at DEBUG, and holds at INFO,
	// and WARN when the store begins to fail. If nil, nothing is logged.
	Logger *zap.Logger

	// Observe is called with all that Logger gets. Events about a request come on
	// its goroutine and with its context; those about a hold or the store, with
	// the background context. It must neither block nor panic.
	Observe func(context.Context, Event)

	once    sync.Once
	invalid error // what is wrong with the fields, if anything
	base    http.RoundTripper
	backoff Backoff
	judge   func(*http.Request, *http.Response, error) Verdict
	watch   watcher
	table   admission.Table
}

const (
	defaultAttempts = 4
	defaultMaxWait  = time.Minute
	defaultMaxHold  = 5 * time.Minute
)

// sharedBase serves every Transport without a Base: each pool of its own would
// be idle connections that are never closed.
var sharedBase = sync.OnceValue(func() http.RoundTripper { return cleanhttp.DefaultPooledTransport() })

func (t *Transport) init() {
	t.base, t.backoff, t.judge = t.Base, t.Backoff, t.Classify
	if t.base == nil {
		t.base = sharedBase()
	}
	if t.backoff == nil {
		t.backoff = Exponential{}
	}
	if t.judge == nil {
		t.judge = DefaultClassify
	}
	t.watch = watcher{log: t.Logger, hook: t.Observe}
	if t.invalid = t.validate(); t.invalid == nil { // else nothing may be called on the fields
		t.table.Init(t.Store, func(c admission.Change) { t.watch.observe(context.Background(), eventOf(c)) })
	}
}

func (t *Transport) validate() error {
	switch {
	case t.MaxAttempts < 0:
		return fmt.Errorf("holdoff: Transport.MaxAttempts is %d; it must not be negative", t.MaxAttempts)
	case t.PerAttemptTimeout < 0:
		return fmt.Errorf("holdoff: Transport.PerAttemptTimeout is %v; it must not be negative", t.PerAttemptTimeout)
	case t.MaxHold < 0:
		return fmt.Errorf("holdoff: Transport.MaxHold is %v; it must not be negative", t.MaxHold)
	}
	if err := t.validateInterfaces(); err != nil {
		return err
	}
	switch e := t.backoff.(type) {
	case Exponential:
		return e.validate()
	case *Exponential:
		return e.validate()
	}
	return nil
}

func (t *Transport) maxAttempts() int       { return cmp.Or(t.MaxAttempts, defaultAttempts) }
func (t *Transport) maxWait() time.Duration { return max(cmp.Or(t.MaxWait, defaultMaxWait), 0) }
func (t *Transport) maxHold() time.Duration { return cmp.Or(t.MaxHold, defaultMaxHold) }
func (t *Transport) retryBudget() int       { return cmp.Or(t.Budget, retrybudget.Default) }

// CloseIdleConnections closes the idle connections of Base, as
// http.Client.CloseIdleConnections asks.
func (t *Transport) CloseIdleConnections() {
	t.once.Do(t.init)
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok && !missing(t.base) {
		base.CloseIdleConnections()
	}
}

// WrappedRoundTripper returns what sends the attempts: Base, or what stands in
// for it. client-go asks wrappers for it, to find the TLS configuration and the
// dialer below them.
func (t *Transport) WrappedRoundTripper() http.RoundTripper {
	t.once.Do(t.init)
	return t.base
}

// RoundTrip sends req, more than once where that is safe and of use. It
// returns a response, or an error: the last one of Base, a *[HeldError] where
// req was not sent because its key is held, or a *[WaitError] where its context
// ended in a wait. Where that ended before, RoundTrip returns the context's cause.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.once.Do(t.init)
	if t.invalid != nil {
		closeBody(req)
		optionsOf(req.Context()).setOutcome(0, nil, t.invalid)
		return nil, t.invalid
	}
	if req.URL == nil || req.Header == nil || req.URL.Host == "" || req.Method == http.MethodConnect {
		// Base has the words for what is wrong; and a tunnel is not a request
		// whose status says how it went.
		resp, err := t.base.RoundTrip(req)
		optionsOf(req.Context()).setOutcome(1, resp, err)
		return resp, err
	}
	c := call{t: t, req: req, options: optionsOf(req.Context())}
	defer c.release()
	return c.run()
}

// key returns what is known of req's key.
func (t *Transport) key(req *http.Request) *admission.Key {
	if t.Key == nil {
		if k := t.table.Recent(req.URL.Scheme, req.URL.Host); k != nil {
			return k
		}
	}
	return t.table.Key(hostkey.Of(req, t.Key))
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// run is the whole story of a request: may I send, send, what did that teach,
// again? Its steps are in call.go.
func (c *call) run() (*http.Response, error) {
	c.start()
	for {
		if err := c.enter(); err != nil {
			return c.refuse(err)
		}
		c.send()
		verdict := c.learn()
		if !verdict.Retry {
			return c.answer(c.finalEnding())
		}
		wait, against := c.plan(verdict)
		if against != "" {
			return c.giveUp(against)
		}
		c.discard()
		c.sleep(wait, verdict.Reason)
	}
}
