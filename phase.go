package holdoff

import "github.com/go-holdoff/holdoff/internal/hold"

// A Phase is the state of the circuit of one key: see the constants.
type Phase = hold.Phase

const (
	Healthy  = hold.Healthy  // circuit closed: every request is sent
	Held     = hold.Held     // circuit open: no request is sent
	Probing  = hold.Probing  // half-open: one trial request is sent
	Ramping  = hold.Ramping  // slow start: permits grow from round to round until demand is met
	Counted  = hold.Counted  // capacity is measured: every request is sent, and every result is counted
	Paced    = hold.Paced    // congestion avoidance: permits follow the measured goodput
	Rationed = hold.Rationed // a known remaining quota is spread until its reset
)
