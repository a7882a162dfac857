package redisstore

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/limit"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// limit.lua is Draw of internal/limit, over any claims and times.
func TestDraw_ByARandomWalk_IsThatOfGo(t *testing.T) {
	srv := redistest.Start(t)
	s := redisStore(t, srv.Client(), Options{})
	for _, window := range []bool{false, true} {
		var share limit.Share
		random := rand.New(rand.NewPCG(17, 17))
		name := "bucket"
		if window {
			name = "window"
		}
		key := s.name("limit:" + idOf(name))
		for i := range 300 {
			c := limit.Claim{Full: 100, Reserve: 25, Amount: float64(random.IntN(60) - 20), Level: 70, Said: limit.Unknown}
			if window {
				c.Reset, c.Length = time.Duration(1+random.IntN(400))*time.Millisecond, time.Second
			} else {
				c.Rate = 0.5 + 1e4*random.Float64()
			}
			if random.IntN(3) == 0 {
				c.Said, c.Mark = float64(random.IntN(100)), share.Drawn-float64(random.IntN(50))
			}
			got, err := s.Draw(name, c)
			if err != nil {
				t.Fatal(err)
			}
			// By the time of the script, which is the only one that Go is not told.
			micros, err := srv.Client().HGet(t.Context(), key, "at").Int64()
			if err != nil {
				t.Fatal(err)
			}
			want := share.Draw(c, time.UnixMicro(micros))
			if math.Abs(got.Drawn-want.Drawn) > 1e-6 || (got.Wait-want.Wait).Abs() > time.Millisecond {
				t.Fatalf("%s, step %d, %+v: got %+v, want %+v", name, i, c, got, want)
			}
		}
	}
}

// What another client of Redis wrote is no reason to fail.
func TestDraw_OfDamagedData_StartsFromNothing(t *testing.T) {
	srv := redistest.Start(t)
	s := redisStore(t, srv.Client(), Options{})
	key := s.name("limit:" + idOf("k"))
	c := limit.Claim{Full: 100, Rate: 10, Amount: 10, Level: 100, Said: limit.Unknown}
	for name, damage := range map[string]func() error{
		"a string": func() error { return srv.Client().Set(t.Context(), key, "x", 0).Err() },
		"no numbers": func() error {
			return srv.Client().HSet(t.Context(), key, "level", "x", "drawn", strings.Repeat("9", 400)).Err()
		},
	} {
		srv.Client().Del(t.Context(), key)
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		got, err := s.Draw("k", c)
		if err != nil || got.Drawn != 10 || got.Wait != 0 {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	if ttl := srv.Client().PTTL(t.Context(), key).Val(); ttl <= 0 {
		t.Errorf("the limit's time to live is %v", ttl)
	}
}
