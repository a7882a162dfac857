package hold

// A Phase is the state of the circuit of one key.
type Phase int

const (
	Healthy  Phase = iota // circuit closed: every request is sent
	Held                  // circuit open: no request is sent
	Probing               // half-open: one trial request is sent
	Ramping               // slow start: permits grow from round to round until demand is met
	Counted               // capacity is measured: every request is sent, and every result is counted
	Paced                 // congestion avoidance: permits follow the measured goodput
	Rationed              // a known remaining quota is spread until its reset
)

// Phases are all phases, in the order of their values.
var Phases = [...]Phase{Healthy, Held, Probing, Ramping, Counted, Paced, Rationed}

// String returns the phase in a word, or "phase(N)" for a value that is none.
func (p Phase) String() string {
	return word("phase", int(p), "healthy", "held", "probing", "ramping", "counted", "paced", "rationed")
}

// MarshalText returns the phase in a word, as in a store's records.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText writes. Any other word is an error: a machine
// in a phase that it does not know would stay in it for ever.
func (p *Phase) UnmarshalText(text []byte) error {
	for _, phase := range Phases {
		if phase.String() == string(text) {
			*p = phase
			return nil
		}
	}
	return unknownPhase(text[:min(len(text), 32)])
}

type unknownPhase string

func (p unknownPhase) Error() string { return "holdoff: unknown phase \"" + string(p) + "\"" }

// A Lesson is what the outcome of one attempt says about the server.
type Lesson int

const (
	Nothing     Lesson = iota // no signal: the caller left, or the request was bad
	Good                      // success: the server is up
	Refused                   // throttled: the server is up and asks for less load
	Failed                    // failure: the server answered that it is failing
	Unreachable               // no answer: the server or this replica's own network is at fault
)

// String returns the lesson in a word, or "lesson(N)" for a value that is none.
func (l Lesson) String() string {
	return word("lesson", int(l), "nothing", "good", "refused", "failed", "unreachable")
}

// word returns the word for a value, or says which value has none: an older version
// may meet the phase of a newer one.
func word(kind string, value int, words ...string) string {
	if 0 <= value && value < len(words) {
		return words[value]
	}
	return kind + "(" + decimal(value) + ")"
}

// decimal writes n; this package imports no strconv.
func decimal(n int) string {
	switch {
	case n < 0 && n > -10:
		return "-" + decimal(-n)
	case n >= 0 && n < 10:
		return string(rune('0' + n))
	case n < 0:
		return decimal(n/10) + decimal(-(n % 10)) // the lowest int has no positive
	}
	return decimal(n/10) + decimal(n%10)
}
