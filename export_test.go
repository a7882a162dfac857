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
