package limit

// portion is how much of what is used of a limit this process drew: the rest is drawn by
// other processes, or by requests that cost more than was thought. A process is refilled by
// its portion, so that all of them together send what the server refills.
type portion struct {
	own, all float64
}

const (
	// portionMemory is what one more answer leaves of the earlier ones.
	portionMemory = 0.9
	// leastPortion bounds what others may take away: a process that waits for ever never
	// learns that they have gone.
	leastPortion = 1.0 / 32
)

// learn takes in what this process drew between two answers, and by how much the limit
// fell.
func (p *portion) learn(own, all float64) {
	p.own = p.own*portionMemory + max(own, 0)
	p.all = p.all*portionMemory + max(all, 0)
}

// share returns the portion. A known limit is all ours.
func (p *portion) share(known bool) float64 {
	if known || p.own <= 0 || p.all <= p.own {
		return 1
	}
	return max(p.own/p.all, leastPortion)
}
