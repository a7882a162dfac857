package hold

import (
	"testing"
	"time"
)

var scheduleStart = micros(registerTime)

// at returns when a turn comes, counted from the start.
func (m Micros) since() time.Duration { return time.Duration(m-scheduleStart) * time.Microsecond }

func TestSchedule_TurnsComeOneAfterAnother(t *testing.T) {
	s := Schedule{Gap: 5 * ms}
	steps := []struct {
		now        time.Duration
		want, most int
		patience   time.Duration
		n          int
		first      time.Duration
		what       string
	}{
		{0, 3, 100, time.Second, 3, 0, "a schedule that nobody has asked begins now"},
		{0, 2, 100, time.Second, 2, 15 * ms, "the next replica's come thereafter"},
		{ms, 1000, 5000, 52 * ms, 6, 25 * ms, "none comes after patience is over"},
		{ms, 1, 100, 0, 0, 55 * ms, "nobody waits who would not: the time is told"},
		{10 * ms, 4, 2, time.Second, 2, 55 * ms, "no more than a quota has left"},
		{time.Second, 0, 100, 0, 0, time.Second, "who wants none takes none"},
		{2 * time.Second, 1, 100, 0, 1, 2 * time.Second, "time in which nobody asked is not made up for"},
	}
	for _, step := range steps {
		at := scheduleStart + Micros(step.now.Microseconds())
		if n, first := s.take(step.want, step.most, step.patience, at); n != step.n || first.since() != step.first {
			t.Errorf("%s: %d turns from %v, want %d from %v", step.what, n, first.since(), step.n, step.first)
		}
	}
	if got := s.Next.since(); got != 2*time.Second+5*ms {
		t.Errorf("the next comes at %v", got)
	}
}

// Whoever wrote a gap, or a patience: no panic, no overflow, and no turn in the past.
func TestSchedule_NumbersOutOfRangeAreSurvived(t *testing.T) {
	for _, gap := range []time.Duration{-1, 0, 1, 1 << 62} {
		for _, next := range []Micros{-1 << 62, 0, scheduleStart, 1 << 50} {
			for _, patience := range []time.Duration{-1 << 62, 0, 1 << 62} {
				s := Schedule{Gap: gap, Next: next}
				n, first := s.take(MaxReported, MaxPermits, patience, scheduleStart)
				if n < 0 || n > MaxReported || first < scheduleStart || s.Next < next {
					t.Errorf("gap %v, next %v, patience %v: %d turns from %v, then %v", gap, next, patience, n, first, s.Next)
				}
				s.retime(-1, scheduleStart)
				s.retime(1<<62, scheduleStart)
				s.from(scheduleStart)
			}
		}
	}
}

func TestSchedule_ChangeOfTheRateMovesTurnsThatAreNotDue(t *testing.T) {
	now := registerTime.Add(time.Second)
	r := Record{Rev: 1, Phase: Paced, Generation: 7, Began: millis(registerTime), Until: millis(now), Permits: 10}
	r.Gap, r.Next = 10*ms, micros(now.Add(400*ms))
	d := Decision{
		Rev: 1, At: millis(now), Phase: Paced, Generation: 7, Until: millis(now.Add(Slot)), Permits: 5, Gap: 20 * ms, NewRound: true, MaxAge: MaxAge,
	}
	slower := r
	d.Changed = true
	slower.Commit(d, now)
	if got := slower.Next.Time().Sub(now); got != 800*ms || slower.Granted != 40 {
		t.Errorf("at half the rate the next comes in %v and %d are handed out; want 800ms, 40", got, slower.Granted)
	}
	quiet := r
	d.Changed = false
	quiet.Commit(d, now)
	if got := quiet.Next.Time().Sub(now); got != 400*ms {
		t.Errorf("a change of which no replica is told moves the next to %v", got)
	}
}

func TestSchedule_EndsWithThePace(t *testing.T) {
	now := registerTime.Add(time.Second)
	r := Record{Rev: 1, Phase: Paced, Generation: 7, Began: millis(registerTime), Until: millis(now), Permits: 10}
	r.Gap, r.Next = 10*ms, micros(now.Add(400*ms))
	for _, d := range []Decision{
		{Phase: Ramping, Permits: 4, Until: millis(now.Add(Slot))},
		{Phase: Held, Until: millis(now.Add(time.Minute))},
		{Phase: Healthy},
	} {
		ended := r
		d.Rev, d.At, d.Generation, d.NewRound, d.MaxAge = 1, millis(now), 7, true, MaxAge
		ended.Commit(d, now)
		if ended.Next != 0 || ended.Granted != 0 || ended.Gap != 0 {
			t.Errorf("%v: the next turn comes at %v, %d are handed out", d.Phase, ended.Next, ended.Granted)
		}
	}
}

// A process that is started anew does not wait for turns that its predecessor had.
func TestSchedule_TurnsOfTheDeadAreLost(t *testing.T) {
	for _, over := range []time.Duration{0, time.Second, UnusedAfter, UnusedAfter + ms, time.Hour} {
		end := registerTime.Add(time.Second)
		now := end.Add(over)
		r := Record{Rev: 1, Phase: Paced, Generation: 7, Began: millis(registerTime), Until: millis(end), Permits: 10}
		r.Gap, r.Next = 10*ms, micros(now.Add(time.Minute))
		d := Decision{
			Rev: 1, At: millis(now), Phase: Paced, Generation: 7, Until: millis(now.Add(Slot)), Permits: 10, Gap: 10 * ms, NewRound: true,
			Want: 1, Patience: time.Hour, MaxAge: MaxAge,
		}
		wait := r.Commit(d, now).Snapshot.First.Sub(now)
		if lost := over > UnusedAfter; lost != (wait == 0) {
			t.Errorf("%v after the end of the round, the next turn comes in %v", over, wait)
		}
	}
}

// A report to which a decision follows takes no turns: the decision does.
func TestSchedule_DeciderGetsItsTurnsOnce(t *testing.T) {
	r := Record{Rev: 1, Phase: Paced, Generation: 7, Began: millis(registerTime), Until: millis(registerTime.Add(Slot)), Permits: 10}
	now := registerTime.Add(Slot)
	r.Gap, r.Memory.Rate, r.Granted, r.Next = 10*ms, 100, 10, micros(now)
	rep := Report{Replica: "a", Call: 1, Version: Version, Generation: 7, Want: 4, Patience: time.Second}
	reply := r.Add(rep, now, time.Hour)
	if !reply.Decide || reply.Snapshot.Permits != 0 {
		t.Fatalf("decide %v, %d turns; want a decision, and none yet", reply.Decide, reply.Snapshot.Permits)
	}
	reply = r.Commit(Advance(reply.Record, rep, reply.Now, time.Hour, func(time.Duration) time.Duration { return 0 }), now)
	if reply.Snapshot.Permits != 4 || r.Next != micros(now)+4*r.gap() {
		t.Errorf("%d turns, the next in %v; want four", reply.Snapshot.Permits, r.Next.Time().Sub(now))
	}
}

// A line may be longer than the longest hold: it still has one place for each.
func TestSchedule_LineLongerThanAHoldKeepsItsOrder(t *testing.T) {
	r := Record{Rev: 1, Phase: Paced, Generation: 7, Began: millis(registerTime), Until: millis(registerTime.Add(time.Hour)), Permits: 1}
	r.Gap, r.Memory.Rate = 10*time.Second, 0.1
	first := r.Add(Report{Want: 100, Patience: time.Hour}, registerTime, time.Minute).Snapshot
	next := r.Add(Report{Want: 1, Patience: time.Hour}, registerTime.Add(time.Second), time.Minute).Snapshot
	if first.Permits != 100 || next.Permits != 1 || next.First.Sub(registerTime) != 1000*time.Second {
		t.Errorf("%d turns, then %d in %v; want 100, then one in 1,000 s", first.Permits, next.Permits, next.First.Sub(registerTime))
	}
}

// Whoever wrote a record: turns lie no further ahead than those that were handed out.
func TestSchedule_DamagedNextStarvesNobody(t *testing.T) {
	for granted, want := range map[int]time.Duration{0: 20*ms + ms, 1000: 20*ms + 20*time.Second + ms, -1: 20*ms + ms, 1 << 62: 24*time.Hour + ms} {
		r := Record{Rev: 1, Phase: Paced, Generation: 7, Began: millis(registerTime), Until: millis(registerTime.Add(time.Hour)), Permits: 1, Granted: granted}
		r.Gap, r.Next = 10*ms, 1<<60
		if got := r.Add(Report{Want: 1}, registerTime, time.Hour).Snapshot.First.Sub(registerTime); got > want {
			t.Errorf("%d turns were handed out, and the next comes in %v, want %v at most", granted, got, want)
		}
	}
}
