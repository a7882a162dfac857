// Package retryapi replays requests that a [holdoff.Transport] gave up, and shows
// why nothing is being sent.
//
//	lot, err := retryapi.NewMemoryLot(retryapi.Bounds{})
//	transport := &holdoff.Transport{Park: lot}
//	handler := &retryapi.Handler{Transport: transport, Lot: lot}
//	transport.Observe = handler.Observe // for the history on the page
//	mux.Handle("/retries/", http.StripPrefix("/retries", requireLogin(handler)))
//
// The handler has no authentication of its own. Mount it behind the service's:
// any client that reaches it can make the service send those requests, and
// see which hosts it talks to.
//
//	POST /retry   replays one parked request: see RetryRequest, RetryResponse
//	GET  /state   keys, parked requests and the store's health, as JSON: see State
//	GET  /events  the same as server-sent events, whenever it changes
//	GET  /        a page of it
//
// Nothing happens on GET. A POST must carry application/json and come from the
// handler's own origin, if from a browser; and each request must name a host that
// is allowed (Handler.Hosts). docs/openapi.yaml describes it all.
//
// Pages that are open hold streams that do not end by themselves: cancel them by
// the server's BaseContext, or http.Server.Shutdown waits for them. Give the server
// a ReadHeaderTimeout, an IdleTimeout and a WriteTimeout: docs/OPERATIONS.md says
// how long. The handler sets them aside for what lasts longer.
package retryapi
