package retryapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLot_BeginRenewsTheClaim(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{})
		id := park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
		c, err := l.Claim(t.Context(), id, 4, time.Millisecond)
		must(t, err)
		eventually(t, "the claim's lease ends", func() bool {
			list, _, err := l.List(t.Context(), 1)
			return err == nil && !list[0].InFlight
		})
		must(t, l.Begin(t.Context(), c, lease))
		_, err = l.Claim(t.Context(), id, 5, lease)
		conflict(t, err, 5, true)
	})
}

func TestLot_BeginShortensALongClaim(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{})
		id := park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
		must(t, l.Begin(t.Context(), claim(t, l, id, 4), time.Millisecond))
		eventually(t, "the renewed lease ends, not the claim's", func() bool {
			_, err := l.Claim(t.Context(), id, 5, lease)
			return err == nil
		})
	})
}

// sendsAtOnce counts the requests that a Base has under way at a time. Each takes
// that long, or until its context ends.
type sendsAtOnce struct {
	took time.Duration

	mu         sync.Mutex
	now, most  int
	interrupts int
}

func (s *sendsAtOnce) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	if req.Body != nil {
		req.Body.Close()
	}
	select {
	case <-time.After(s.took):
		return response(503), nil
	case <-req.Context().Done():
		s.mu.Lock()
		s.interrupts++
		s.mu.Unlock()
		return nil, req.Context().Err()
	}
}

// A slow Prepare has used the claim up when a slow server gets the request.
func TestReplay_SlowPrepareAndSlowServerSendOneAtATime(t *testing.T) {
	for _, prepare := range []time.Duration{time.Second, 2 * time.Minute, 150 * time.Second, 4 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			base := &sendsAtOnce{took: time.Minute}
			r.Transport.Base = base
			r.PrepareTimeout = 5 * time.Minute
			r.Prepare = func(*http.Request) error {
				time.Sleep(prepare)
				return nil
			}
			var wg sync.WaitGroup
			wg.Go(func() { post(r, callBody(r.id, 4, 0, 0)) })
			time.Sleep(prepare + 50*time.Second) // the server has the first one
			other := &Handler{Transport: r.Transport, Lot: r.Lot}
			for _, attempt := range []int{4, 5} {
				wg.Go(func() { refused(t, post(other, callBody(r.id, attempt, 0, 0)), http.StatusConflict, "attemptNumber") })
			}
			wg.Wait()
			if base.most != 1 {
				t.Errorf("Prepare of %v: got %d sends at once, want 1", prepare, base.most)
			}
			if next, inFlight := r.next(t); next != 5 || inFlight {
				t.Errorf("Prepare of %v: got next number %d, in flight %t; want 5, and free", prepare, next, inFlight)
			}
		})
	}
}

func TestReplay_SendEndsBeforeItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		base := &sendsAtOnce{took: time.Hour}
		r.Transport.Base = base
		var wg sync.WaitGroup
		var got RetryResponse
		wg.Go(func() { got = retried(t, post(r, callBody(r.id, 4, 300_000, 0))) })
		time.Sleep(5*time.Minute + replayTimeout - time.Millisecond)
		if next, inFlight := r.next(t); next != 5 || !inFlight {
			t.Errorf("got next number %d, in flight %t while it is sent; want 5, in flight", next, inFlight)
		}
		wg.Wait()
		if base.interrupts != 1 || got.Result != "failure" || *got.NextAttemptNumber != 5 {
			t.Errorf("got %+v after %d interrupts, want a failure: the send is bounded", got, base.interrupts)
		}
	})
}

// pausing is a lot after whose Begin the process stands still.
type pausing struct {
	Lot
	pause time.Duration
}

func (l pausing) Begin(ctx context.Context, c *Claim, lease time.Duration) error {
	err := l.Lot.Begin(ctx, c, lease)
	time.Sleep(l.pause)
	return err
}

func TestReplay_ProcessPausedBeyondItsLeaseSendsNothing(t *testing.T) {
	for _, pause := range []time.Duration{replayTimeout, replayTimeout + claimSlack, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, []int{200})
			r.Lot = pausing{r.lot, pause}
			got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
			if got.Result != "failure" || r.server.sends() != 0 {
				t.Errorf("pause of %v: got %+v and %d sends; want a failure without a send", pause, got, r.server.sends())
			}
		})
	}
}

func TestPrepare_IsBounded(t *testing.T) {
	for name, prepare := range map[string]func(*http.Request) error{
		"it obeys its context": func(req *http.Request) error {
			<-req.Context().Done()
			return req.Context().Err()
		},
		"it ignores its context": func(*http.Request) error {
			time.Sleep(20 * time.Minute)
			return nil
		},
		"it is late and hides it": func(req *http.Request) error {
			<-req.Context().Done()
			return nil
		},
	} {
		for _, limit := range []time.Duration{0, 3 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, []int{200})
				r.PrepareTimeout, r.Prepare = limit, prepare
				got := retried(t, post(r, callBody(r.id, 4, 0, 0)))
				want := "Prepare took longer than " + r.prepareTimeout().String()
				if got.Result != "failure" || !strings.Contains(got.Error, want) || *got.NextAttemptNumber != 4 {
					t.Errorf("%s: got %+v, want a failure with %q", name, got, want)
				}
				r.unsent(t, 0)
			})
		}
	}
	if defaultPrepare != 10*time.Second {
		t.Errorf("got %v by default, want the 10 s of the documentation", defaultPrepare)
	}
}

func TestPrepare_EndsWithTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, []int{200})
		r.Prepare = func(req *http.Request) error {
			<-req.Context().Done()
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		got := retried(t, postContext(ctx, r, callBody(r.id, 4, 0, 0)))
		if took := time.Since(begun); took != time.Second || got.Error != callerGone {
			t.Errorf("got %+v after %v, want an end with the caller's after 1s", got, took)
		}
		r.unsent(t, 0)
	})
}

// The send has a context of its own, not Prepare's.
func TestPrepare_ContextDoesNotEndTheSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		base := &sendsAtOnce{took: time.Minute}
		r.Transport.Base = base
		r.Prepare = func(*http.Request) error { return nil }
		if got := retried(t, post(r, callBody(r.id, 4, 0, 0))); got.Status != 503 || base.interrupts != 0 {
			t.Errorf("got %+v, want the server's 503 after a minute", got)
		}
	})
}

func TestPark_LeavesClaimedRequests(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		for name, b := range map[string]Bounds{"number": {Requests: 3}, "bytes": {Bytes: 3 * (parkableHead + 10)}} {
			t.Run(name, func(t *testing.T) {
				l := newLot(b)
				one := func() (string, error) {
					time.Sleep(2 * time.Millisecond) // the order is by milliseconds
					return l.Park(t.Context(), parkable(t, "PUT", "https://api.example.com/", make([]byte, 10)))
				}
				var all []string
				for range 3 {
					id, err := one()
					must(t, err)
					all = append(all, id)
				}
				first := claim(t, l, all[0], 4)
				id, err := one()
				must(t, err)
				all = append(all, id)
				if got, want := ids(t, l), []string{all[3], all[2], all[0]}; !slices.Equal(got, want) {
					t.Fatalf("got %v, want %v: the oldest that is not claimed goes", got, want)
				}
				claim(t, l, all[2], 4)
				claim(t, l, all[3], 4)
				if _, err := one(); err != errFull {
					t.Errorf("got %v where all are claimed, want %v", err, errFull)
				}
				must(t, l.Begin(t.Context(), first, lease))
				must(t, l.Settle(t.Context(), first, Result{Sent: true, Status: 503}))
				id, err = one()
				must(t, err)
				if got, want := ids(t, l), []string{id, all[3], all[2]}; !slices.Equal(got, want) {
					t.Errorf("got %v, want %v: what is no longer claimed goes", got, want)
				}
			})
		}
	})
}

func TestPark_DropsNothingWhereThatMakesNoRoom(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{Bytes: 100 + 2*parkableHead})
		large := park(t, l, parkable(t, "PUT", "https://api.example.com/", make([]byte, 60)))
		time.Sleep(2 * time.Millisecond)
		small := park(t, l, parkable(t, "PUT", "https://api.example.com/", make([]byte, 40)))
		claim(t, l, large, 4)
		if _, err := l.Park(t.Context(), parkable(t, "PUT", "https://api.example.com/", make([]byte, 41))); err != errFull {
			t.Errorf("got %v, want %v", err, errFull)
		}
		if got, want := ids(t, l), []string{small, large}; !slices.Equal(got, want) || evicted(t, l) != 0 {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestPark_LeavesClaimedRequestsThatAreTooOld(t *testing.T) {
	eachLot(t, func(t *testing.T, newLot func(Bounds) Lot) {
		l := newLot(Bounds{Age: 200 * time.Millisecond})
		id := park(t, l, parkable(t, "PUT", "https://api.example.com/", []byte("x")))
		c := claim(t, l, id, 4)
		time.Sleep(250 * time.Millisecond)
		park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
		_, err := l.Claim(t.Context(), id, 4, lease)
		conflict(t, err, 4, true)
		must(t, l.Begin(t.Context(), c, lease))
		must(t, l.Settle(t.Context(), c, Result{Sent: true, Status: 503}))
		if _, err := l.Claim(t.Context(), id, 5, lease); err != ErrUnknown {
			t.Errorf("got %v once it is no longer claimed, want %v: it is too old", err, ErrUnknown)
		}
	})
}
