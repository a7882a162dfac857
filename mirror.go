package holdoff

import "github.com/go-holdoff/holdoff/internal/mirror"

// A Mirror is what one process knows of the records of a store, and who watches them.
// It is for those who write a [Store]: Watch and All are what a store needs, once each
// state that becomes known is Put. It forgets by itself what has expired. The zero
// value is ready for use, and safe for concurrent use.
//
//	func (m *Mirror) Put(record string, state State, again bool) (newer bool)
//	func (m *Mirror) Watch(key string, changed func(scope string, state State)) (stop func())
//	func (m *Mirror) All() iter.Seq2[string, State]
//	func (m *Mirror) Len() int
//	func (m *Mirror) Watched(key string) bool
//
// Put adopts the state of a record, unless it is older than the one that is known. It
// notifies the watchers of the record's key if the state is newer; also one of the same
// version, if again is set. A state that is Lost says that the store has lost the
// record. Put calls the watchers before it returns: hold no lock that they need.
type Mirror = mirror.Mirror
