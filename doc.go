// Package holdoff is an [http.RoundTripper] that retries safely, waits as long as
// the server asked, and shares backoff across replicas: when one replica is asked to
// slow down, all of them do.
//
//	client := &http.Client{Transport: &holdoff.Transport{}}
//
// # What is retried
//
// Idempotent requests that met 408, 425, 429, a 5xx that may pass, or a broken
// connection; and any request that the server provably did not process. See
// [DefaultClassify]; package vendors has classifiers for servers that refuse in the
// body of a response. A request body is sent again from GetBody, or from a small copy
// that is kept while it streams.
//
// # How long it waits
//
// As long as the server said (Retry-After and similar fields), plus jitter. Where the
// server said nothing, exponential backoff with jitter: see [Exponential]. A wait that
// would pass the deadline of the request's context, or Transport.MaxWait, does not
// start: the caller gets the response now. A retry budget bounds how many retries are
// added to first attempts.
//
// # Holds
//
// A hint of two seconds or more holds the part of the key (scheme, host and port, unless
// Transport.Key says otherwise) that was limited: a route, a credential, a replica, or
// what several refusals have in common, see [Scope]. Twenty failures in a row hold the
// key. The state of a scope is one sentence, N sends until T:
//
//	HEALTHY   circuit closed: every request is sent
//	HELD      circuit open: no request is sent until T
//	PROBING   half-open: one trial request
//	RAMPING   slow start: 2, 4, 8 … requests per slot of 100 ms, until demand is met
//	COUNTED   capacity is measured: every request is sent, and results are counted
//	PACED     as many requests per slot as the server has accepted
//	RATIONED  the remaining quota, spread over the time until its reset
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
// A server that refuses only what exceeds its capacity (429 with a short hint, or
// none) is not held. Its capacity is measured, and then it is sent that much. A server
// whose responses say what remains of a quota is rationed when the quota is nearly used
// up, before it refuses a request.
//
// Requests that meet a hold wait in a queue where their deadline and MaxWait allow it,
// and otherwise fail at once with a *[HeldError]. A healthy key costs a request one
// lookup: no lock, and no allocation if it is idempotent. docs/RETRY_LOGIC.md has the
// formulas.
//
// # Fleets
//
// With a [Store] the state of a key is the fleet's: all replicas obey a hint that one of
// them received, one request of the whole fleet probes, and the replicas share the
// permits of a ramp. Where the server did not ask for it, the fleet is held only after
// two replicas have reported failures; until then a replica that meets 20 failures in a
// row holds by itself. Timeouts and connection errors are never shared: the fault may be
// this replica's network.
//
//	store, err := holdoff.NewRedisStore(rdb, holdoff.RedisOptions{Namespace: "billing"})
//	client := &http.Client{Transport: &holdoff.Transport{Store: store}}
//
// A store is advice. A key that is healthy or held costs no command. No request waits
// for a store where its own process may decide. Without the store each replica continues
// alone. [MemoryStore] and [RedisStore] are stores; package storetest checks others.
//
// # Requests that were given up
//
// Transport.Park keeps requests that ran out of attempts, budget or patience.
// Package retryapi has places to keep them, a handler that replays them on
// POST /retry, and a page that shows how everything stands.
//
// # Telemetry
//
// Transport.Observe is called with every event, and [Transport.Keys] returns the state of
// every key that is not healthy. Package telemetry/slog, and the modules
// telemetry/prometheus and telemetry/otel, make logs, metrics and traces of that.
//
// # For contributors
//
// ARCHITECTURE.md in the repository says which package does what, how a request and a
// 429 go through them, and where to add a vendor, a phase or a store.
package holdoff
