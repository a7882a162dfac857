// Package retrybudget bounds how many retries may be added to first attempts.
package retrybudget

import "sync/atomic"

// A Budget bounds how many retries may ride on top of first attempts, so that a
// server which fails part of its requests is not sent a multiple of them. It is
// a token bucket that is full at first: a retry takes a token, and a success
// puts a tenth of one back. The zero value is full, and safe for concurrent use.
type Budget struct {
	spent atomic.Int64 // tenths of tokens
}

const (
	// Default is the room of a budget that was not set.
	Default = 10
	tenths  = 10 // a retry's price, in what a success earns
)

// Take pays for one retry out of a bucket with the given room (negative: no
// bound), and reports whether there was enough.
func (b *Budget) Take(room int) bool {
	if room < 0 {
		return true
	}
	for {
		spent := b.spent.Load()
		if (spent+tenths-1)/tenths >= int64(room) { // a product may overflow
			return false
		}
		if b.spent.CompareAndSwap(spent, spent+tenths) {
			return true
		}
	}
}

// Earn credits one success. While the bucket is full it only reads.
func (b *Budget) Earn() {
	for {
		spent := b.spent.Load()
		if spent == 0 || b.spent.CompareAndSwap(spent, spent-1) {
			return
		}
	}
}

// Left returns how many retries there is room for, or -1 where there is no bound.
func (b *Budget) Left(room int) int {
	if room < 0 {
		return -1
	}
	return max(room-int((b.spent.Load()+tenths-1)/tenths), 0)
}
