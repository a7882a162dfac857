// Package peers has what Go programs put around an [http.RoundTripper] to retry
// requests, each set up as its documentation recommends for one and the same job:
// up to four attempts, 429 and 5xx retried, backoff with jitter, Retry-After
// obeyed. What a peer can't do of this is said where it is set up, and in Can,
// which the tests hold it to.
package peers

import (
	"net/http"
	"runtime"
	"runtime/debug"
)

// attempts is how often every peer sends a request at most.
const attempts = 4

// Peer is one way to send requests.
type Peer struct {
	Name    string
	Version string

	// New returns the peer around base.
	New func(base http.RoundTripper) http.RoundTripper
	// Eager returns the same, but for waits that are the shortest it allows. It
	// shows what a retry costs besides the wait, and is no way to use a peer.
	Eager func(base http.RoundTripper) http.RoundTripper

	Can Can
}

// Can is what differs among peers in what they are able to do.
type Can struct {
	Retry  bool // sends again what was answered 503
	Replay bool // … with the body that GetBody returns
	Buffer bool // … with a body without GetBody, of any length
	Hint   Hint
	Cancel bool // ends a wait when the request's context ends
	Jitter bool // spreads its backoff
}

// Hint says which Retry-After a peer waits for.
type Hint int

const (
	Never Hint = iota
	On429
	On429And503
)

// All are the peers, in the order in which tables show them.
var All = []Peer{bare, holdoffPeer, retryablehttpPeer, rehttpPeer, failsafePeer, orasPeer, containerregistryPeer}

// Adaptive are peers that do more than retry: they limit what is sent by what came of it.
// They have no Eager, and no Can.
var Adaptive = []Peer{failsafeLimiterPeer, failsafeThrottlerPeer}

// bare is the base alone: it retries nothing.
var bare = Peer{
	Name:    "bare",
	Version: runtime.Version(),
	New:     itself,
	Eager:   itself,
}

func itself(base http.RoundTripper) http.RoundTripper { return base }

// Version returns the version of module that is part of this program, or "" where
// it was built without knowing.
func Version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, dep := range info.Deps {
		switch {
		case dep.Path != module:
		case dep.Replace != nil:
			return "of this repository"
		default:
			return dep.Version
		}
	}
	return ""
}
