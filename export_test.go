package holdoff

// What the documents state, and the texts of net/http that the code knows.
const (
	DefaultAttempts = defaultAttempts
	DefaultMaxWait  = defaultMaxWait
	DefaultMaxHold  = defaultMaxHold

	DefaultCap    = defaultCap
	MinBase       = minBase
	MaxBase       = maxBase
	UnknownBase   = unknownBase
	ThrottledBase = throttledBase
	MinSpread     = minSpread

	IdleClosedText  = idleClosedText
	GoAwayFirstText = goAwayFirstText
)

var LostTexts = lostTexts

// Kept counts the records of a MemoryStore, and those that its watchers are told of.
func (s *MemoryStore) Kept() (records, mirrored int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records), s.mirror.Len()
}
