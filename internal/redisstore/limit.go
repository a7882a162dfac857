package redisstore

import (
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/go-holdoff/holdoff/internal/limit"
)

var errGrant = errors.New("holdoff: Redis answered a claim of a limit with no grant")

// Draw takes an amount of the limit of that name for the fleet. It is bounded by
// Options.Timeout.
func (s *Store) Draw(name string, c limit.Claim) (limit.Grant, error) {
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	if away {
		return limit.Grant{}, errAway
	}
	s.exchanges.Add(1)
	defer s.exchanges.Add(-1)
	raw, err := s.run(limitScript, []string{s.name("limit:" + idOf(name))},
		decimal(c.Full), decimal(c.Rate), decimal(c.Reserve), decimal(c.Reset.Seconds()), decimal(c.Length.Seconds()),
		decimal(c.Amount), decimal(c.Level), decimal(c.Said), decimal(c.Mark))
	if err != nil {
		return limit.Grant{}, err
	}
	var reply [2]float64
	for i := range reply {
		if len(raw) <= i {
			return limit.Grant{}, errGrant
		}
		text, _ := raw[i].(string)
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) {
			return limit.Grant{}, errGrant
		}
		reply[i] = n
	}
	wait := min(max(reply[0], 0), limit.Forever.Seconds())
	return limit.Grant{Wait: time.Duration(wait * float64(time.Second)), Drawn: reply[1]}, nil
}

func decimal(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }
