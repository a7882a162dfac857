package hold

const (
	// A limit that is met by a rate is met less often by half of it: the odds of a
	// refusal fall by half at least. Where they fall by less than lessOften, in two
	// parts of a descent, the rate is not the cause. Where they rise by more than
	// moreOften, it is not seen yet: a full bucket takes at first what it will not take
	// for long.
	lessOften = 0.85
	moreOften = 2.0
	// enoughResults is how many successes and how many refusals make odds.
	enoughResults = 3
)

// A descent is what came of a rate that was lowered again and again: a part for every
// time that it was halved.
type descent struct {
	before, present Part
}

// A Part of a descent begins at a rate.
type Part struct {
	From float64 `json:"from,omitempty"` // sends per second
	Good int     `json:"good,omitempty"`
	Bad  int     `json:"bad,omitempty"`
}

// bounded returns a part with valid numbers, whatever wrote it.
func (p Part) bounded() Part {
	return Part{finite(p.From), within(p.Good, maxCount), within(p.Bad, maxCount)}
}

// add takes in the results of a slot.
func (d *descent) add(rate float64, good, bad int) {
	if rate > d.present.From {
		*d = descent{present: Part{From: rate}}
	}
	d.present.Good, d.present.Bad = min(d.present.Good+good, maxCount), min(d.present.Bad+bad, maxCount)
}

// doesNotHelp takes in the next rate, and reports whether lower ones do not help.
func (d *descent) doesNotHelp(rate float64) bool {
	if 2*rate > d.present.From {
		return false
	}
	was, is := d.before, d.present
	d.before, d.present = is, Part{From: rate}
	if min(was.Good, was.Bad, is.Good, is.Bad) < enoughResults {
		return false
	}
	before, after := float64(was.Bad)/float64(was.Good), float64(is.Bad)/float64(is.Good)
	return after > lessOften*before && after < moreOften*before
}
