// Package holdoff is an [http.RoundTripper] that retries right: it sends again
// what is safe to send again, waits as long as the server asked, and makes
// everybody behind one API quota leave a host alone when one of them was told
// to.
//
//	client := &http.Client{Transport: &holdoff.Transport{}}
//
// # What is retried
//
// Idempotent requests that met 408, 425, 429, a 5xx that may pass, or a broken
// connection; and any request that the server provably did not process. See
// [DefaultClassify]; package vendors has classifiers for servers that refuse in the
// body of a response. A body is sent again from GetBody, or from a small copy that is kept while
// it streams.
//
// # How long it waits
//
// As long as the server said (Retry-After and its kin), plus jitter; and where
// it said nothing, by exponential backoff with jitter: see [Exponential]. A
// wait that would pass the deadline of the request's context, or
// Transport.MaxWait, is not begun: the caller gets the response now. A budget
// bounds how many retries ride on top of first attempts.
//
// # Holds
//
// A hint of two seconds or more, or twenty failures in a row, hold the key
// (scheme, host and port, unless Transport.Key says otherwise). The state of a
// key is one sentence, N sends until T:
//
//	HEALTHY   everybody sends
//	HELD      nobody sends until the hint ends
//	PROBING   one request tries
//	RAMPING   2, 4, 8 … requests per slot of 100 ms, until demand is met
//	COUNTED   everybody sends, and what is refused is counted
//	PACED     as many per slot as the server has shown to take
//	RATIONED  what is left of a quota, spread over its time
//
//	          hint of 2 s          T           good       demand met
//	HEALTHY ───────────────▶ HELD ───▶ PROBING ────▶ RAMPING ────▶ HEALTHY
//	  │ │     or 20 failures   ▲          │ bad         │ bad
//	  │ │                      └──────────┴─────────────┘
//	  │ │ refusals                much is refused       demand met
//	  │ └──────────▶ COUNTED ────────────────────▶ PACED ──────▶ RAMPING
//	  │ a quota runs out                                demand met
//	  └──────────────────────────────────────▶ RATIONED ───────▶ RAMPING
//
// A server that refuses its surplus (429 with a short hint or none) is not held
// but counted, and then paced at what it takes. One whose answers say what remains
// of a quota is rationed when that nears its end: before it refuses anything.
//
// Requests that meet a hold wait in line where their deadline and MaxWait allow
// it, and otherwise fail at once with a *[HeldError]. A healthy key costs a
// request one lookup: no lock, and no allocation if it is idempotent. docs/RETRY_LOGIC.md has the
// formulas.
//
// # Fleets
//
// With a [Store] the state of a key is the fleet's: all replicas obey what one of
// them was told, one request of all of them probes, and the ramp's permits are
// shared out. A hold of all that the server did not ask for takes two replicas that
// saw it fail; until then who met 20 failures in a row holds by itself. Where no
// answer came, nothing leaves the replica that waited for it.
//
//	store, err := holdoff.NewRedisStore(rdb, holdoff.RedisOptions{Namespace: "billing"})
//	client := &http.Client{Transport: &holdoff.Transport{Store: store}}
//
// A store is advice. A healthy key costs no command, nor does one that is held;
// no request waits for a store where this process may decide by itself; and
// without it each replica goes on alone.
//
// # Requests that were given up
//
// Transport.Park keeps requests that ran out of attempts, budget or patience.
// Package retryapi has places to keep them, a handler that replays them on
// POST /retry, and a page that shows how everything stands.
//
// # Telemetry
//
// Transport.Observe is called with every event, and [Transport.Keys] says how things
// stand. Package telemetry/slog, and the modules telemetry/prometheus and
// telemetry/otel, make logs, metrics and traces of that.
package holdoff
