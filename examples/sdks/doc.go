// Package sdks wraps clients of well-known services: a function each, to be
// copied. docs/SDKS.md shows them, what becomes of each SDK's own retries, and
// the traps; its tests measure what it says.
package sdks
