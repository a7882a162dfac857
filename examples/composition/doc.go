// Package composition shows what goes inside a Transport and what outside, one
// library per file: an example of the wiring, and tests of what happens in the
// other order. docs/COMPOSITION.md says why.
//
// Its command sidecar is a Transport for services that aren't written in Go.
package composition
