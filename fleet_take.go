package holdoff

import "time"

// What a gate does with what its store says, or does not say.

// alone notes that the store failed. Where the next step was the store's to
// take, this process goes on by itself, from the state that is known and with
// the results that could not be told.
func (g *gate) alone(news News) {
	h, s := &g.hold, &g.share
	now := time.Now()
	s.retry = now.Add(storeRetry + uniform(storeRetry))
	if !h.shared || (now.Before(h.until) && news.Good+news.Refused+news.Bad+news.Returned == 0) {
		return
	}
	s.version = 0
	if h.spaced() {
		news = News{} // what was paced for all tells nothing of this process alone
	}
	h.part(now)
	o := outcome{pass: pass{generation: news.Generation, permit: true}, status: news.Status, hint: news.Hint}
	for _, results := range []struct {
		n      int
		lesson Lesson
	}{{news.Good, Good}, {news.Refused, Refused}, {news.Bad, Failed}, {news.Returned, Nothing}} {
		o.lesson = results.lesson
		for range results.n {
			h.learn(o, now, uniform)
		}
	}
}

// orphaned reports whether the next step is the store's to take, and the store
// is known to be away.
func (g *gate) orphaned(now time.Time) bool {
	return g.hold.shared && !now.Before(g.hold.until) && now.Before(g.share.retry)
}

// told takes in what the store says of its own accord.
func (g *gate) told(state State) {
	before := g.lock()
	g.take(state, false)
	g.unlock(before)
}

// take adopts the store's state, unless it is older than what is known.
func (g *gate) take(state State, reply bool) {
	h, s := &g.hold, &g.share
	if state.Lost {
		g.lost()
		return
	}
	if state.Version < s.version || (state.Version == s.version && !reply) {
		return
	}
	s.version, s.last = state.Version, state.Last
	if state.Phase == Held && !s.hint.After(state.Until.Add(rounding)) {
		s.hint, s.word = time.Time{}, false // somebody else has told
	}
	if reply && h.shared && state.Phase == Healthy && state.Generation == 0 {
		// The record is gone: nobody has probed.
		g.lost()
		return
	}
	s.failing = state.Phase == Healthy && state.Attempts > 0
	if state.Phase == Healthy {
		if h.shared {
			h.recover(time.Now())
			s.row = 0
		}
		return
	}
	if h.phase == Held && h.word && state.Phase != Held && s.hint.After(time.Now()) {
		return // the store has yet to hear of a hint
	}
	// A hint that this replica got and the store has yet to hear of holds on.
	own := h.phase == Held && h.word && state.Phase == Held && h.until.After(state.Until)
	until := state.Until
	if own {
		until = h.until
		if !reply && s.hint.IsZero() && until.Sub(state.Until) > rounding {
			// Two halves of a fleet have met again: the longer hold wins.
			s.hint, s.word, s.news.Status = until, true, h.status
		}
	}
	permits := state.Permits
	if h.shared && state.Phase == h.phase && h.spaced() && h.until.Sub(until).Abs() <= rounding {
		permits += h.permits - h.granted // they are spread over the slot, and some are yet to be used
	}
	h.enter(state.Phase, permits, until)
	h.from = time.Now()
	if left := until.Sub(h.from); h.spaced() && permits > 0 && left > 0 {
		h.from = h.from.Add(uniform(left / time.Duration(permits)))
	}
	h.shared, h.word = true, state.Word || own
	h.generation, h.level, h.rate = state.Generation, state.Level, state.Rate
	h.attempts, h.status, h.witnesses = state.Attempts, state.Status, state.Witnesses
	s.dry = false
}

// lost goes on alone where the store has lost the key, and tells it again what
// the server said: not all replicas at once, since one is enough.
func (g *gate) lost() {
	h, s := &g.hold, &g.share
	s.failing, s.version = false, 0
	if !h.shared {
		return
	}
	h.part(time.Now())
	if h.phase == Held && h.word {
		s.hint, s.word, s.news.Status = h.until, true, h.status
		s.retry = time.Now().Add(uniform(storeRetry / 2))
	}
}
