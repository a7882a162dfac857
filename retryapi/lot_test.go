package retryapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

var allBytes = func() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}()

const lease = time.Minute

// eachLot runs a test with a MemoryLot and with a RedisLot.
func eachLot(t *testing.T, test func(t *testing.T, newLot func(Bounds) Lot)) {
	t.Run("MemoryLot", func(t *testing.T) {
		test(t, func(b Bounds) Lot { return memoryLot(t, b) })
	})
	t.Run("RedisLot", func(t *testing.T) {
		s := redistest.Start(t)
		n := 0
		test(t, func(b Bounds) Lot {
			n++
			return redisLot(t, s, RedisLotOptions{Namespace: fmt.Sprintf("lot-%d", n), Bounds: b})
		})
	})
}

// conflict fails the test if err is not a *ConflictError that says so.
func conflict(t *testing.T, err error, next int, inFlight bool) {
	t.Helper()
	c, ok := errors.AsType[*ConflictError](err)
	if !ok || c.Next != next || c.InFlight != inFlight {
		t.Errorf("got %v, want a *ConflictError with next %d, in flight %t", err, next, inFlight)
	}
}

func claim(t *testing.T, l Lot, id string, attempt int) *Claim {
	t.Helper()
	c, err := l.Claim(t.Context(), id, attempt, lease)
	if err != nil {
		t.Fatalf("got %v, want the claim of attempt %d", err, attempt)
	}
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ids(t *testing.T, l Lot) []string {
	t.Helper()
	list, _, err := l.List(t.Context(), 1000)
	must(t, err)
	var all []string
	for _, s := range list {
		all = append(all, s.ID)
	}
	return all
}

func TestLotGivesTheExactRequestBack(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{})
		for _, tt := range []struct {
			name   string
			body   []byte // nil: none
			length int64  // as declared
			want   int64  // as declared by the replay
		}{
			{"no body", nil, 0, 0},
			{"empty body", []byte{}, 0, 0},
			{"Content-Length", allBytes, 256, 256},
			{"chunked, declared as -1", allBytes, -1, -1},
			{"chunked, declared as 0: net/http's unknown", allBytes, 0, -1},
			{"long", bytes.Repeat(allBytes, 4000), 256 * 4000, 256 * 4000},
			{"zero bytes", make([]byte, 100), 100, 100},
			{"text that looks like an answer of Redis", []byte("$3\r\nfoo\r\n*1\r\n"), 13, 13},
		} {
			t.Run(tt.name, func(t *testing.T) {
				p := parkable(t, "PUT", "https://api.example.com:8443/a%2Fb//c?q=1&q=%20", tt.body)
				p.Request.ContentLength = tt.length
				p.Request.Host = "virtual.example.com"
				p.Request.Header = http.Header{
					"X-Two": {"one", "two", ""}, "x-not-canonical": {"ä ☺ \" \\ <&>"}, "Content-Type": {"application/octet-stream"},
				}
				header := p.Request.Header.Clone()
				id := park(t, l, p)
				c := claim(t, l, id, 4)
				req := c.Request
				if got := bodyOf(t, req); got != string(tt.body) {
					t.Errorf("got a body of %d bytes, want these %d", len(got), len(tt.body))
				}
				if req.ContentLength != tt.want {
					t.Errorf("got Content-Length %d, want %d", req.ContentLength, tt.want)
				}
				if req.Method != "PUT" || req.URL.String() != p.Request.URL.String() || req.Host != "virtual.example.com" {
					t.Errorf("got %s %v, Host %s; want what was parked", req.Method, req.URL, req.Host)
				}
				if !reflect.DeepEqual(req.Header, header) {
					t.Errorf("got the header %v, want %v", req.Header, header)
				}
				if len(c.Withheld) != 0 {
					t.Errorf("got %v withheld, want nothing", c.Withheld)
				}
				must(t, l.Settle(t.Context(), c, Result{}))
				// What was done with one replay is not seen by the next.
				req.Header.Set("X-Two", "changed")
				req.Header["Content-Type"][0] = "changed"
				again := claim(t, l, id, 4)
				if got := bodyOf(t, again.Request); got != string(tt.body) || !reflect.DeepEqual(again.Request.Header, header) {
					t.Errorf("got %d bytes and %v at the second claim, want what was parked", len(got), again.Request.Header)
				}
				if !reflect.DeepEqual(p.Request.Header, header) {
					t.Errorf("got %v: parking has changed what it was given", p.Request.Header)
				}
			})
		}
	})
}

func TestMethodIsGETWhereTheRequestNamesNone(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{})
		p := parkable(t, "GET", "https://api.example.com/", nil)
		p.Request.Method = ""
		id := park(t, l, p)
		list, _, err := l.List(t.Context(), 1)
		must(t, err)
		if c := claim(t, l, id, 4); c.Request.Method != "GET" || list[0].Method != "GET" {
			t.Errorf("got %q and %q, want GET", c.Request.Method, list[0].Method)
		}
	})
}

func TestRequestThatCouldNotBeReplayedAsItWasIsRefused(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{})
		trailer := parkable(t, "PUT", "https://api.example.com/", []byte("x"))
		trailer.Request.Trailer = http.Header{"X-Sum": {"1"}}
		broken := parkable(t, "PUT", "https://api.example.com/", []byte("x"))
		broken.Request.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("the file is gone") }
		for name, p := range map[string]holdoff.Parked{"a trailer": trailer, "a body that is gone": broken} {
			if id, err := l.Park(t.Context(), p); err == nil {
				t.Errorf("%s: got id %q, want an error", name, id)
			}
		}
		if got := ids(t, l); len(got) != 0 {
			t.Errorf("got %v parked, want nothing", got)
		}
	})
}

func TestClaimBeginSettle(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		ctx := t.Context()
		l := newLot(Bounds{})
		id := park(t, l, parkable(t, "PUT", "https://api.example.com/", []byte("x")))

		_, err := l.Claim(ctx, id, 3, lease)
		conflict(t, err, 4, false)
		_, err = l.Claim(ctx, id, 5, lease)
		conflict(t, err, 4, false)
		if _, err = l.Claim(ctx, "ffff", 4, lease); !errors.Is(err, ErrUnknown) {
			t.Errorf("got %v for an id that never was, want ErrUnknown", err)
		}

		c := claim(t, l, id, 4)
		_, err = l.Claim(ctx, id, 4, lease)
		conflict(t, err, 4, true)
		must(t, l.Settle(ctx, c, Result{}))
		if err := l.Begin(ctx, c, lease); err == nil {
			t.Error("a claim that was settled can be begun, want an error")
		}

		c = claim(t, l, id, 4) // nothing was sent: the number is the same
		must(t, l.Begin(ctx, c, lease))
		_, err = l.Claim(ctx, id, 4, lease)
		conflict(t, err, 5, true)
		must(t, l.Settle(ctx, c, Result{Sent: true, Status: 502, Err: "bad"}))
		_, err = l.Claim(ctx, id, 4, lease)
		conflict(t, err, 5, false)
		list, _, err := l.List(ctx, 10)
		must(t, err)
		if s := list[0]; s.Status != 502 || s.Error != "bad" || s.Attempt != 5 || s.InFlight {
			t.Errorf("got %+v, want the replay's 502, its error and the next number 5", s)
		}

		c = claim(t, l, id, 5) // held at the gate: begun, but not sent
		must(t, l.Begin(ctx, c, lease))
		must(t, l.Settle(ctx, c, Result{Err: "held"}))
		c = claim(t, l, id, 5)
		must(t, l.Begin(ctx, c, lease))
		must(t, l.Settle(ctx, c, Result{Sent: true, Good: true, Status: 200}))
		if _, err = l.Claim(ctx, id, 6, lease); !errors.Is(err, ErrUnknown) {
			t.Errorf("got %v after a good replay, want ErrUnknown", err)
		}
		if list, total, err := l.List(ctx, 10); len(list) != 0 || total != 0 || err != nil {
			t.Errorf("got %v, %d, %v; want nothing parked", list, total, err)
		}
	})
}

func TestOfManyConcurrentClaimsOneWins(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{})
		id := park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
		for attempt := 4; attempt < 8; attempt++ {
			var wg sync.WaitGroup
			won := make(chan *Claim, 40)
			for range cap(won) {
				wg.Go(func() {
					c, err := l.Claim(t.Context(), id, attempt, lease)
					if err != nil {
						conflict(t, err, attempt, true)
						return
					}
					won <- c
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Fatalf("attempt %d: got %d winners, want one", attempt, len(won))
			}
			c := <-won
			must(t, l.Begin(t.Context(), c, lease))
			must(t, l.Settle(t.Context(), c, Result{Sent: true, Status: 503}))
		}
	})
}

func TestLapsedLeaseCanBeTakenAndItsHolderCanNoLongerBegin(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		ctx := t.Context()
		l := newLot(Bounds{})
		id := park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
		late, err := l.Claim(ctx, id, 4, time.Millisecond)
		must(t, err)
		var c *Claim
		eventually(t, "the lease lapses", func() bool {
			c, err = l.Claim(ctx, id, 4, lease)
			return err == nil
		})
		conflict(t, l.Begin(ctx, late, lease), 4, true)
		conflict(t, l.Settle(ctx, late, Result{Sent: true, Good: true}), 4, true)
		must(t, l.Begin(ctx, c, lease))
		must(t, l.Settle(ctx, c, Result{Sent: true, Status: 500}))
		conflict(t, l.Begin(ctx, late, lease), 5, false)
	})
}

func TestLapsedLeaseThatNobodyTookIsStillGood(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		ctx := t.Context()
		l := newLot(Bounds{})
		id := park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
		c, err := l.Claim(ctx, id, 4, time.Millisecond)
		must(t, err)
		eventually(t, "the lease lapses", func() bool {
			list, _, err := l.List(ctx, 1)
			return err == nil && !list[0].InFlight
		})
		must(t, l.Begin(ctx, c, lease))
		must(t, l.Settle(ctx, c, Result{Sent: true, Good: true}))
	})
}

// A replica that died in the middle of a replay has used its number up.
func TestNumberIsUsedUpOnceBegun(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		ctx := t.Context()
		l := newLot(Bounds{})
		id := park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
		const lease = 500 * time.Millisecond
		c, err := l.Claim(ctx, id, 4, lease)
		must(t, err)
		must(t, l.Begin(ctx, c, lease))
		eventually(t, "the lease lapses", func() bool {
			_, err := l.Claim(ctx, id, 4, lease)
			if err == nil {
				t.Fatal("attempt 4 is given out a second time")
			}
			c, ok := errors.AsType[*ConflictError](err)
			return ok && !c.InFlight && c.Next == 5
		})
	})
}

func TestListTellsWhatMayBeShown(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{})
		before := time.Now()
		p := parkable(t, "PUT", "https://user:sesame@api.example.com/path?token=sesame#sesame", []byte("sesame"))
		p.Request.Header.Set("Authorization", "sesame")
		p.Err = errors.New("the last error")
		first := park(t, l, p)
		time.Sleep(2 * time.Millisecond) // the order is by milliseconds
		second := park(t, l, parkable(t, "GET", "https://api.example.com/", nil))

		list, total, err := l.List(t.Context(), 10)
		must(t, err)
		if total != 2 || len(list) != 2 || list[0].ID != second || list[1].ID != first {
			t.Fatalf("got %d of %d: %+v; want both, the latest first", len(list), total, list)
		}
		s := list[1]
		if off := s.Parked.Sub(before).Abs(); off > 20*time.Second {
			t.Errorf("got parked at %v, want about %v", s.Parked, before)
		}
		s.Parked = time.Time{}
		want := Summary{
			ID: first, Method: "PUT", URL: "https://api.example.com/path", Key: "https://api.example.com", Size: 6,
			Attempt: 4, Ended: "attempts", Status: 503, Error: "the last error",
		}
		if s != want {
			t.Errorf("got %+v, want %+v", s, want)
		}
		if list, total, err := l.List(t.Context(), 1); len(list) != 1 || total != 2 || err != nil {
			t.Errorf("got %d of %d, %v; want 1 of 2", len(list), total, err)
		}
		claim(t, l, first, 4)
		list, _, err = l.List(t.Context(), 10)
		must(t, err)
		if !list[1].InFlight || list[0].InFlight {
			t.Errorf("got %+v, want the first in flight, and it alone", list)
		}
	})
}

func TestIDsHave128BitsOfChance(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := newID()
		if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || seen[id] {
			t.Fatalf("got %q, want 32 hexadecimal digits that were not there before", id)
		}
		seen[id] = true
	}
}

// evicted returns how many requests had to make room.
func evicted(t *testing.T, l Lot) int {
	t.Helper()
	switch l := l.(type) {
	case *MemoryLot:
		return l.Evicted()
	case *RedisLot:
		n, err := l.client.(*redis.Client).HGet(t.Context(), l.base+"states", "evicted").Int()
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		return n
	}
	return -1
}

func TestOldestMakesRoom(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		parkSized := func(t *testing.T, l Lot, sizes ...int) (all []string) {
			for _, n := range sizes {
				all = append(all, park(t, l, parkable(t, "PUT", "https://api.example.com/", make([]byte, n))))
				time.Sleep(2 * time.Millisecond) // the order is by milliseconds
			}
			return all
		}
		latest := func(all []string) []string {
			all = slices.Clone(all)
			slices.Reverse(all)
			return all
		}
		t.Run("number", func(t *testing.T) {
			l := newLot(Bounds{Requests: 3})
			all := parkSized(t, l, 1, 1, 1, 1, 1)
			if got, want := ids(t, l), latest(all[2:]); !slices.Equal(got, want) {
				t.Errorf("got %v, want the latest three %v", got, want)
			}
			if got := evicted(t, l); got != 2 {
				t.Errorf("got %d counted, want 2", got)
			}
		})
		t.Run("bytes", func(t *testing.T) {
			l := newLot(Bounds{Bytes: 100 + 3*parkableHead})
			all := parkSized(t, l, 40, 40, 20)
			if got := ids(t, l); len(got) != 3 {
				t.Fatalf("got %d parked, want 3: they fill the lot to the last byte", len(got))
			}
			all = append(all, parkSized(t, l, 41)...) // takes the room of two
			if got, want := ids(t, l), latest(all[2:]); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if got := evicted(t, l); got != 2 {
				t.Errorf("got %d counted, want 2", got)
			}
		})
		t.Run("bytes that a good replay gave back", func(t *testing.T) {
			l := newLot(Bounds{Bytes: 100 + 2*parkableHead})
			all := parkSized(t, l, 60, 40)
			c := claim(t, l, all[0], 4)
			must(t, l.Begin(t.Context(), c, lease))
			must(t, l.Settle(t.Context(), c, Result{Sent: true, Good: true}))
			all = append(all, parkSized(t, l, 60)...)
			if got, want := ids(t, l), latest(all[1:]); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if got := evicted(t, l); got != 0 {
				t.Errorf("got %d counted, want none: there was room", got)
			}
		})
		t.Run("body", func(t *testing.T) {
			l := newLot(Bounds{Body: 100})
			kept := parkSized(t, l, 100)
			_, err := l.Park(t.Context(), parkable(t, "PUT", "https://api.example.com/", make([]byte, 101)))
			if err == nil || !strings.Contains(err.Error(), "100 bytes (Bounds.Body)") {
				t.Errorf("got %v, want an error that names Bounds.Body and its 100 bytes", err)
			}
			if got := ids(t, l); !slices.Equal(got, kept) {
				t.Errorf("got %v, want %v: what is refused makes nobody go", got, kept)
			}
		})
		t.Run("a body longer than all the lot", func(t *testing.T) {
			l := newLot(Bounds{Bytes: 10 + parkableHead, Body: 1000})
			kept := parkSized(t, l, 5)
			if _, err := l.Park(t.Context(), parkable(t, "PUT", "https://api.example.com/", make([]byte, 11))); err == nil {
				t.Error("it is parked, want an error")
			}
			if got := ids(t, l); !slices.Equal(got, kept) {
				t.Errorf("got %v, want %v", got, kept)
			}
		})
		t.Run("age", func(t *testing.T) {
			l := newLot(Bounds{Age: 300 * time.Millisecond})
			id := parkSized(t, l, 1)[0]
			eventually(t, "it is too old", func() bool {
				_, err := l.Claim(t.Context(), id, 3, lease) // never the right number
				return errors.Is(err, ErrUnknown)
			})
			if list, total, err := l.List(t.Context(), 10); len(list) != 0 || total != 0 || err != nil {
				t.Errorf("got %v, %d, %v; want an empty list", list, total, err)
			}
			parkSized(t, l, 1)
			if got := evicted(t, l); got != 0 {
				t.Errorf("got %d counted, want none: it went by age", got)
			}
		})
	})
}

func TestMemoryLotForgetsTheOrderOfWhatIsGone(t *testing.T) {
	l := memoryLot(t, Bounds{})
	first := park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
	for range 1000 {
		id := park(t, l, parkable(t, "PUT", "https://api.example.com/", []byte("x")))
		c := claim(t, l, id, 4)
		must(t, l.Settle(t.Context(), c, Result{Sent: true, Good: true}))
	}
	if got := ids(t, l); !slices.Equal(got, []string{first}) {
		t.Errorf("got %v, want the first alone", got)
	}
	if n := len(*l.order.Load()); n > 20 || l.bytes != l.parked[first].size {
		t.Errorf("got %d ids and %d bytes remembered for one request", n, l.bytes)
	}
}

func TestConcurrentUseOfALot(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{Requests: 5, Bytes: 1000})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					id, err := l.Park(t.Context(), parkable(t, "PUT", "https://api.example.com/", make([]byte, 150)))
					if errors.Is(err, errFull) {
						continue // the others are replaying all that there is
					}
					if err != nil {
						t.Error(err)
						return
					}
					if c, err := l.Claim(t.Context(), id, 4, lease); err == nil {
						l.Begin(t.Context(), c, lease)
						l.Settle(t.Context(), c, Result{Sent: true, Good: len(c.ID)%2 == 0})
					} else if !errors.Is(err, ErrUnknown) {
						t.Errorf("got %v, want the claim, or ErrUnknown where others took the room", err)
					}
					l.List(t.Context(), 10)
				}
			})
		}
		wg.Wait()
		if got := ids(t, l); len(got) > 5 {
			t.Errorf("got %d parked, want at most 5", len(got))
		}
	})
}

// RedisLot alone.

func TestReplicasSeeEachOthersRequests(t *testing.T) {
	s := redistest.Start(t)
	a, b := redisLot(t, s, RedisLotOptions{}), redisLot(t, s, RedisLotOptions{})
	id := park(t, a, parkable(t, "PUT", "https://api.example.com/", allBytes))
	c := claim(t, b, id, 4)
	if got := bodyOf(t, c.Request); got != string(allBytes) {
		t.Errorf("got %q, want the body that the other one parked", got)
	}
	_, err := a.Claim(t.Context(), id, 4, lease)
	conflict(t, err, 4, true)
	must(t, b.Begin(t.Context(), c, lease))
	must(t, b.Settle(t.Context(), c, Result{Sent: true, Good: true}))
	if _, err := a.Claim(t.Context(), id, 5, lease); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown: the other one is done with it", err)
	}
}

func TestNamespacesAndPrefixesAreApart(t *testing.T) {
	s := redistest.Start(t)
	lots := []*RedisLot{
		redisLot(t, s, RedisLotOptions{}), redisLot(t, s, RedisLotOptions{Namespace: "other"}),
		redisLot(t, s, RedisLotOptions{Prefix: "other"}),
	}
	for i, l := range lots {
		id := park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
		for j, other := range lots {
			if _, err := other.Claim(t.Context(), id, 3, lease); errors.Is(err, ErrUnknown) != (i != j) {
				t.Errorf("lot %d, request of lot %d: got %v", j, i, err)
			}
		}
	}
	same := redisLot(t, s, RedisLotOptions{Namespace: "default", Prefix: "holdoff"})
	if got := ids(t, same); len(got) != 1 {
		t.Errorf("got %v, want the request of the lot with the names by default", got)
	}
}

// everything returns all that Redis holds, names and values.
func everything(t *testing.T, client *redis.Client) map[string]string {
	t.Helper()
	ctx := t.Context()
	names, err := client.Keys(ctx, "*").Result()
	must(t, err)
	all := map[string]string{}
	for _, name := range names {
		switch kind := client.Type(ctx, name).Val(); kind {
		case "hash":
			for field, value := range client.HGetAll(ctx, name).Val() {
				all[name+" "+field] = value
			}
		case "zset":
			for _, id := range client.ZRange(ctx, name, 0, -1).Val() {
				all[name+" "+id] = ""
			}
		default:
			t.Fatalf("%s is a %s, which this test can't read", name, kind)
		}
	}
	return all
}

func TestCredentialsNeverReachRedis(t *testing.T) {
	s := redistest.Start(t)
	l := redisLot(t, s, RedisLotOptions{})
	for _, tt := range []struct {
		name     string
		url      string
		header   http.Header
		withheld []string
	}{
		{"headers", "https://api.example.com/", http.Header{
			"Authorization": {"Bearer sesame"}, "Cookie": {"a=sesame", "b=sesame"}, "Proxy-Authorization": {"Basic sesame"}, "X-Kept": {"kept"},
		}, []string{"Authorization", "Cookie", "Proxy-Authorization"}},
		{"headers in other spellings, which net/http sends as they are", "https://api.example.com/", http.Header{
			"authorization": {"Bearer sesame"}, "COOKIE": {"sesame"}, "proxy-Authorization": {"sesame"}, "X-Kept": {"kept"},
		}, []string{"Authorization", "Cookie", "Proxy-Authorization"}},
		{"user info", "https://user:sesame@api.example.com/", http.Header{"X-Kept": {"kept"}}, []string{"Authorization"}},
		{"user info without a password", "https://sesame@api.example.com/", http.Header{"X-Kept": {"kept"}}, []string{"Authorization"}},
		{"both", "https://user:sesame@api.example.com/", http.Header{"Authorization": {"sesame"}, "X-Kept": {"kept"}}, []string{"Authorization"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := parkable(t, "PUT", tt.url, []byte("body"))
			p.Request.Header = tt.header
			before := tt.header.Clone()
			id := park(t, l, p)
			c := claim(t, l, id, 4)
			slices.Sort(c.Withheld)
			if !slices.Equal(c.Withheld, tt.withheld) {
				t.Errorf("got %v withheld, want %v", c.Withheld, tt.withheld)
			}
			if want := (http.Header{"X-Kept": {"kept"}}); !reflect.DeepEqual(c.Request.Header, want) || c.Request.URL.String() != "https://api.example.com/" {
				t.Errorf("got %v and %v, want %v and no user info", c.Request.URL, c.Request.Header, want)
			}
			if !reflect.DeepEqual(tt.header, before) {
				t.Errorf("got %v: parking has changed what it was given", tt.header)
			}
			must(t, l.Begin(t.Context(), c, lease))
			must(t, l.Settle(t.Context(), c, Result{Sent: true, Status: 503}))
		})
	}
	all := everything(t, s.Client())
	if len(all) == 0 {
		t.Fatal("Redis is empty: the test tests nothing")
	}
	for name, value := range all {
		if strings.Contains(name+value, "sesame") {
			t.Errorf("got a credential at %s: %s", name, value)
		}
	}
}

func TestMemoryLotKeepsCredentials(t *testing.T) {
	l := memoryLot(t, Bounds{})
	p := parkable(t, "PUT", "https://user:word@api.example.com/", nil)
	p.Request.Header = http.Header{"Authorization": {"Bearer t"}, "Cookie": {"a=b"}}
	c := claim(t, l, park(t, l, p), 4)
	if len(c.Withheld) != 0 || !reflect.DeepEqual(c.Request.Header, p.Request.Header) || c.Request.URL.User.String() != "user:word" {
		t.Errorf("got %v, %v and %v withheld; want all of it: it does not leave the process", c.Request.URL, c.Request.Header, c.Withheld)
	}
}

func TestRedisLotRefusesWhatJSONWouldChange(t *testing.T) {
	s := redistest.Start(t)
	l := redisLot(t, s, RedisLotOptions{})
	for name, change := range map[string]func(*http.Request){
		"value":        func(r *http.Request) { r.Header["X-A"] = []string{"a\xff"} },
		"second value": func(r *http.Request) { r.Header["X-A"] = []string{"a", "\xe4"} },
		"halves":       func(r *http.Request) { r.Header["X-A"] = []string{"\xc3", "\xa4"} },
		"name":         func(r *http.Request) { r.Header["X-\xff"] = []string{"a"} },
		"host":         func(r *http.Request) { r.Host = "a\xff" },
		"method":       func(r *http.Request) { r.Method = "A\xff" },
	} {
		p := parkable(t, "PUT", "https://api.example.com/", nil)
		change(p.Request)
		if id, err := l.Park(t.Context(), p); err == nil {
			t.Errorf("%s: got id %q, want an error", name, id)
		}
	}
	if all := everything(t, s.Client()); len(all) != 0 {
		t.Errorf("got %v in Redis, want nothing", all)
	}
}

func TestEveryKeyHasATTL(t *testing.T) {
	s := redistest.Start(t)
	const age = time.Hour
	l := redisLot(t, s, RedisLotOptions{Bounds: Bounds{Age: age, Requests: 2}})
	client := s.Client()
	check := func(when string) {
		t.Helper()
		names, err := client.Keys(t.Context(), "*").Result()
		must(t, err)
		if len(names) == 0 {
			t.Fatalf("%s: Redis is empty: the test tests nothing", when)
		}
		for _, name := range names {
			if ttl := client.PTTL(t.Context(), name).Val(); ttl < age || ttl > age+2*time.Minute {
				t.Errorf("%s: got a TTL of %v for %s, want a little over %v", when, ttl, name, age)
			}
		}
	}
	for range 3 { // the third makes the first go
		park(t, l, parkable(t, "PUT", "https://api.example.com/", []byte("x")))
	}
	check("parked")
	for _, id := range ids(t, l) {
		c := claim(t, l, id, 4)
		check("claimed")
		must(t, l.Begin(t.Context(), c, lease))
		check("begun")
		must(t, l.Settle(t.Context(), c, Result{Sent: true, Good: true}))
		if len(ids(t, l)) > 0 {
			check("settled")
		}
	}
	for name := range everything(t, client) {
		if !strings.HasSuffix(name, "states bytes") && !strings.HasSuffix(name, "states evicted") {
			t.Errorf("got %s left of requests that are done with", name)
		}
	}
	if n, err := client.HGet(t.Context(), l.base+"states", "bytes").Int(); n != 0 || err != nil {
		t.Errorf("got %d bytes, %v left; want 0", n, err)
	}
}

// twice is a client that runs every script two times, as go-redis does where an
// answer was late.
type twice struct{ redis.Scripter }

func (c twice) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	first := c.Scripter.EvalSha(ctx, sha, keys, args...)
	if first.Err() != nil {
		return first
	}
	return c.Scripter.EvalSha(ctx, sha, keys, args...)
}

func TestScriptRunTwiceDoesNoHarm(t *testing.T) {
	s := redistest.Start(t)
	client := s.Client()
	for _, script := range []*redis.Script{parkScript, claimScript, listScript} {
		must(t, script.Load(t.Context(), client).Err())
	}
	l, err := NewRedisLot(twice{client}, RedisLotOptions{Timeout: 10 * time.Second})
	must(t, err)
	ctx := t.Context()
	id := park(t, l, parkable(t, "PUT", "https://api.example.com/", []byte("12345")))
	if got := ids(t, l); !slices.Equal(got, []string{id}) {
		t.Fatalf("got %v, want one request", got)
	}
	if n, err := client.HGet(ctx, l.base+"states", "bytes").Int(); n != 5+parkableHead || err != nil {
		t.Errorf("got %d bytes, %v; want %d", n, err, 5+parkableHead)
	}
	c := claim(t, l, id, 4)
	must(t, l.Begin(ctx, c, lease))
	l.Settle(ctx, c, Result{Sent: true, Status: 503}) // its second run finds no claim
	_, err = l.Claim(ctx, id, 4, lease)
	conflict(t, err, 5, false)
	c = claim(t, l, id, 5)
	must(t, l.Begin(ctx, c, lease))
	l.Settle(ctx, c, Result{Sent: true, Good: true})
	if got := ids(t, l); len(got) != 0 {
		t.Errorf("got %v, want nothing left", got)
	}
	if n, err := client.HGet(ctx, l.base+"states", "bytes").Int(); n != 0 || err != nil {
		t.Errorf("got %d bytes, %v left; want 0: a body counts once", n, err)
	}
}

func TestRedisAwayIsAnErrorWithinTheTimeout(t *testing.T) {
	s := redistest.Start(t)
	const timeout = 200 * time.Millisecond
	l := redisLot(t, s, RedisLotOptions{})
	id := park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
	c := claim(t, l, id, 4)
	l.timeout = timeout
	all := map[string]func() error{
		"Park": func() error {
			_, err := l.Park(t.Context(), parkable(t, "PUT", "https://api.example.com/", nil))
			return err
		},
		"Claim": func() error {
			_, err := l.Claim(t.Context(), id, 4, lease)
			return err
		},
		"Begin":  func() error { return l.Begin(t.Context(), c, lease) },
		"Settle": func() error { return l.Settle(t.Context(), c, Result{}) },
		"List": func() error {
			_, _, err := l.List(t.Context(), 10)
			return err
		},
	}
	check := func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			begun := time.Now()
			err := all[name]()
			if err == nil || errors.Is(err, ErrUnknown) {
				t.Errorf("%s: got %v, want an error of the lot", name, err)
			}
			if _, ok := errors.AsType[*ConflictError](err); ok {
				t.Errorf("%s: got %v, want an error of the lot", name, err)
			}
			// go-redis alone would take 3 s and more.
			if took := time.Since(begun); took > timeout+2*time.Second {
				t.Errorf("%s: got an error after %v, want it about %v", name, took, timeout)
			}
		}
	}
	t.Run("it hangs", func(t *testing.T) {
		s.Pause()
		defer s.Continue()
		check(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Claim(ctx, id, 4, lease); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the end of the caller's context", err)
		}
	})
	t.Run("it is gone", func(t *testing.T) {
		s.Kill()
		check(t)
	})
	s.Restart()
	l.timeout = 10 * time.Second
	eventually(t, "a Redis that lost all is used again", func() bool {
		_, err := l.Claim(t.Context(), id, 4, lease)
		return errors.Is(err, ErrUnknown)
	})
	park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
}

func TestOptionsThatCannotBeMeantNameTheFieldAndTheBound(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	for _, tt := range []struct {
		opts RedisLotOptions
		want []string
	}{
		{RedisLotOptions{Timeout: -1}, []string{"RedisLotOptions.Timeout", "-1ns", "must not be negative"}},
		{RedisLotOptions{Namespace: "a{b"}, []string{"RedisLotOptions.Namespace", `"a{b"`, "braces"}},
		{RedisLotOptions{Prefix: "a b"}, []string{"RedisLotOptions.Prefix", `"a b"`, "white space"}},
		{RedisLotOptions{Namespace: strings.Repeat("x", 129)}, []string{"RedisLotOptions.Namespace", "129", "128"}},
		{RedisLotOptions{Bounds: Bounds{Requests: -1}}, []string{"Bounds.Requests", "-1", "must not be negative"}},
		{RedisLotOptions{Bounds: Bounds{Bytes: -2}}, []string{"Bounds.Bytes", "-2", "must not be negative"}},
		{RedisLotOptions{Bounds: Bounds{Body: -3}}, []string{"Bounds.Body", "-3", "must not be negative"}},
		{RedisLotOptions{Bounds: Bounds{Header: -5}}, []string{"Bounds.Header", "-5", "must not be negative"}},
		{RedisLotOptions{Bounds: Bounds{Age: -4}}, []string{"Bounds.Age", "-4", "must not be negative"}},
	} {
		errs := map[string]error{}
		_, errs["NewRedisLot"] = NewRedisLot(client, tt.opts)
		if tt.opts.Bounds != (Bounds{}) {
			_, errs["NewMemoryLot"] = NewMemoryLot(tt.opts.Bounds)
		}
		for name, err := range errs {
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v, want an error with %q in it", name, err, want)
				}
			}
		}
	}
	for _, client := range []redis.Scripter{nil, (*redis.Client)(nil)} {
		if _, err := NewRedisLot(client, RedisLotOptions{}); err == nil || !strings.Contains(err.Error(), "client is nil") {
			t.Errorf("got %v, want an error for a client that is nil", err)
		}
	}
}

func TestBoundsByDefault(t *testing.T) {
	got, err := Bounds{}.withDefaults()
	if want := (Bounds{Requests: 1000, Bytes: 64 << 20, Body: 1 << 20, Header: 64 << 10, Age: time.Hour}); got != want || err != nil {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// late is a client whose first answer comes after the lot has given up.
type late struct {
	redis.Scripter
	wait  time.Duration
	first sync.Once
	done  chan struct{}
}

func (c *late) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := c.Scripter.EvalSha(ctx, sha, keys, args...)
	c.first.Do(func() {
		time.Sleep(c.wait)
		close(c.done)
	})
	return cmd
}

func TestClaimWhoseAnswerCameTooLateIsGivenBack(t *testing.T) {
	s := redistest.Start(t)
	l := redisLot(t, s, RedisLotOptions{})
	id := park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
	must(t, claimScript.Load(t.Context(), s.Client()).Err())
	const timeout = 500 * time.Millisecond
	client := &late{Scripter: s.Client(), wait: 3 * timeout, done: make(chan struct{})}
	slow := redisLot(t, s, RedisLotOptions{Timeout: timeout})
	slow.client = client
	if _, err := slow.Claim(t.Context(), id, 4, time.Hour); err == nil {
		t.Fatal("got the claim, want the timeout's error")
	}
	eventually(t, "the attempt can be claimed again", func() bool {
		_, err := l.Claim(t.Context(), id, 4, lease)
		return err == nil
	})
	<-client.done
}

// Where Redis has evicted a part of a parked request, the rest is not sent.
func TestEvictedPartsAreNotReplayedInPart(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	for _, part := range []string{"index", "heads", "bodies", "states"} {
		lot, err := NewRedisLot(rdb, RedisLotOptions{Namespace: part})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest("POST", "http://h.example/", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		id, err := lot.Park(t.Context(), holdoff.Parked{Request: req, Attempts: 2})
		if err != nil {
			t.Fatal(err)
		}
		rdb.Del(t.Context(), "holdoff:{"+part+"}:v1:parked:"+part)
		if _, err := lot.Claim(t.Context(), id, 2, time.Second); !errors.Is(err, ErrUnknown) {
			t.Errorf("without its %s: got %v, want ErrUnknown", part, err)
		}
	}
}
