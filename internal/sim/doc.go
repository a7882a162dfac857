// Package sim runs a fleet of replicas over a lossy store in virtual time.
//
// A Sim is a discrete-event simulation: one queue of events, one clock, one source
// of chance, one goroutine. A seed reproduces a run exactly. It uses the machine and
// the register of package hold as they are. Around them it models, as small as it can
// be, what a process adds: the session of a key with its store (session*.go) and the
// copy that a process keeps of its store (mirror.go). Each rule there names the one
// that it stands for.
//
// Invariants are checked while the run goes on: see check.go. Explore visits every
// interleaving of a much smaller fleet.
package sim
