package retryapi

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/go-holdoff/holdoff"
)

// Handler serves POST /retry, GET /state, GET /events and the page at GET /. It
// has no authentication of its own: mount it behind the service's. Its fields
// must not be changed after the first request.
type Handler struct {
	// Transport sends the replays, and knows which keys are held. It is needed.
	Transport *holdoff.Transport
	// Lot is where Transport parks requests. If nil, none are shown or replayed.
	Lot Lot
	// Prepare is called with each request before it is replayed, and may add to
	// its header and its URL: the credentials that a RedisLot did not keep. It
	// must put back all of them: a header that is no longer needed it sets to nil.
	// Otherwise, or where it returns an error, nothing is sent and the request
	// stays parked. The request's context ends after PrepareTimeout, and where the
	// caller of POST /retry goes.
	Prepare func(*http.Request) error
	// PrepareTimeout bounds Prepare. If zero, 10 s.
	PrepareTimeout time.Duration
	// Hosts are the names under which the handler may be reached, without a port,
	// or "*" for all. A request with another Host gets 403, since a web page
	// could otherwise reach the handler under a name of its own (DNS rebinding).
	// If empty, a request that arrives at a loopback address must name localhost
	// or a loopback address, and any other may name any host. A proxy on the same
	// machine that keeps the client's Host needs an entry here.
	Hosts []string
	// MaxSleep bounds sleepDuration and jitter, each. If zero, five minutes.
	MaxSleep time.Duration
	// Logger gets each replay at DEBUG. If nil, nothing is logged.
	Logger *zap.Logger

	history   history
	snapshots snapshots
	streams   atomic.Int32
}

const (
	defaultSleep   = 5 * time.Minute
	defaultPrepare = 10 * time.Second
	// maxStreams bounds the pages that are kept up to date at a time.
	maxStreams = 64
	// refresh is how often a page looks for changes, and how long all share what
	// one has found.
	refresh = 500 * time.Millisecond
	// slowClient is how long a client may take to accept what is sent to it.
	slowClient = 5 * time.Second
	// beat is how often something is sent where nothing changes, so that both
	// ends know of a link that is gone.
	beat = 15 * time.Second
)

func (h *Handler) maxSleep() time.Duration { return cmp.Or(h.MaxSleep, defaultSleep) }

func (h *Handler) prepareTimeout() time.Duration { return cmp.Or(h.PrepareTimeout, defaultPrepare) }

func (h *Handler) log() *zap.Logger { return cmp.Or(h.Logger, nop) }

var nop = zap.NewNop()

// Observe notes when holds begin and end, for the history that the page shows.
// Set it as Transport.Observe, or call it from there.
func (h *Handler) Observe(_ context.Context, e holdoff.Event) { h.history.note(e, time.Now()) }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "+
		"img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")

	if !h.allowsHost(r) {
		(&problem{Status: http.StatusForbidden, Detail: fmt.Sprintf("the host %.100q is not one of Handler.Hosts", r.Host)}).write(w)
		return
	}
	// The handler may be mounted anywhere: only the end of the path counts.
	switch r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:] {
	case "retry":
		if !allow(w, r, http.MethodPost) {
			return
		}
		if h.Lot == nil {
			(&problem{Status: http.StatusNotFound, Field: "id", Detail: "no requests are parked here: Handler.Lot is not set"}).write(w)
			return
		}
		h.serveRetry(w, r)
	case "state":
		if allow(w, r, http.MethodGet, http.MethodHead) {
			writeJSON(w, http.StatusOK, "application/json", h.state(r))
		}
	case "events":
		if allow(w, r, http.MethodGet) {
			h.serveEvents(w, r)
		}
	case "page.css", "page.js":
		if allow(w, r, http.MethodGet, http.MethodHead) {
			header.Set("Cache-Control", "max-age=300")
			http.ServeFileFS(w, r, files, "page/"+r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
		}
	case "":
		if allow(w, r, http.MethodGet, http.MethodHead) {
			h.servePage(w, r)
		}
	default:
		(&problem{Status: http.StatusNotFound, Detail: "there is nothing here"}).write(w)
	}
}

// allow answers requests of other methods.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	(&problem{Status: http.StatusMethodNotAllowed, Detail: "use " + strings.Join(methods, " or ")}).write(w)
	return false
}

// serveEvents sends the state, with what else the page shows, as server-sent
// events, whenever it has changed, until the client goes, or is too slow to take
// it. Where nothing changes, it sends a beat.
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	if !sameOrigin(r) {
		// It could not read the stream, but would take a place.
		(&problem{Status: http.StatusForbidden, Detail: "a page of another origin may not do this"}).write(w)
		return
	}
	if h.streams.Add(1) > maxStreams {
		h.streams.Add(-1)
		(&problem{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("%d pages are open already", maxStreams)}).write(w)
		return
	}
	defer h.streams.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	client := http.NewResponseController(w)
	f := filterOf(r)
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	var last []byte
	var sent time.Time
	for {
		v, err := h.snapshot(r.Context(), f).frame(h, f)
		if err != nil {
			return
		}
		message := ""
		switch {
		case !bytes.Equal(v.still, last):
			last = v.still
			message = fmt.Sprintf("event: state\ndata: %s\n\n", v.json)
		case time.Since(sent) >= beat:
			message = "event: beat\ndata: {}\n\n" // a comment would not reach the page's script
		}
		if message != "" {
			sent = time.Now()
			client.SetWriteDeadline(sent.Add(slowClient))
			if _, err := w.Write([]byte(message)); err != nil || client.Flush() != nil {
				return
			}
			// HTTP/2 ends a stream at its deadline, also while nothing is written.
			client.SetWriteDeadline(time.Time{})
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
