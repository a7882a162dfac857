package random

import (
	"fmt"
	"strings"
	"time"
)

// String says in words what is drawn.
func (d Draw) String() string {
	parts := []string{fmt.Sprintf("%d replicas, %.0f/s for %v, patience %v", d.Work.Replicas, d.Work.Offered(), seconds(d.Work.Sending), seconds(d.Work.Timeout))}
	say := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if d.Impatient < d.Work.Timeout {
		parts[0] += fmt.Sprintf(", some %v", seconds(d.Impatient))
	}
	if step := d.Work.Step; step.Factor > 0 {
		say("%.1f times the demand %v–%v", step.Factor, seconds(step.From), seconds(step.To))
	}
	for _, t := range d.Troubles {
		parts = append(parts, t.describe(d))
	}
	if h := d.Host; h.Workers > 0 {
		form := "at most %d in flight"
		if h.Room > 0 {
			form = "queue of %[2]d, %[1]d workers"
		}
		text := fmt.Sprintf(form, h.Workers, h.Room)
		if h.Room == 0 {
			text = fmt.Sprintf("at most %d in flight", h.Workers)
		}
		say("host %.2f of the demand (%s, %v each, else %s)", h.Rate()/d.Work.Offered(), text, h.Work.Round(time.Millisecond), refusal(h.Refusal.Status, h.Refusal.Hint))
		if h.Costly > 0 {
			parts[len(parts)-1] += ", refusals cost half"
		}
	}
	say("latency %v %s", d.Latency.Mean, [...]string{"constant", "exponential", "bimodal"}[d.Latency.Shape])
	if d.Latency.Refusals {
		parts[len(parts)-1] += ", of refusals as well"
	}
	if d.Unreachable > 0 {
		say("%d broken replicas", d.Unreachable)
	}
	if d.Lossy > 0 {
		say("%d replica gets half of its answers", d.Lossy)
	}
	if d.Restarts.Every > 0 {
		say("rolling restart from %v on", seconds(d.Restarts.From))
	}
	if len(d.Lives) > 0 {
		say("%d replicas come late or leave early", len(d.Lives))
	}
	return strings.Join(parts, "; ")
}

func (t Trouble) describe(d Draw) string {
	offered := d.Work.Offered() * t.Part.share(d)
	var what string
	switch t.Kind {
	case Outage:
		what = "outage"
		if t.Every > 0 {
			what = fmt.Sprintf("flapping every %v", seconds(t.Every))
		}
	case Failing:
		what = fmt.Sprintf("%.0f %% fail", 100*t.Share)
	case Hanging:
		what = fmt.Sprintf("%.0f %% hang", 100*t.Share)
	case Bucket:
		what = fmt.Sprintf("bucket of %.2f (burst %.0f)", t.Rate/offered, t.Burst)
	case Quota:
		what = fmt.Sprintf("quota of %.2f (%d per %v)", float64(t.Limit)/t.Window.Seconds()/offered, t.Limit, seconds(t.Window))
		if t.Lax {
			what += ", not enforced"
		}
	case Concurrency:
		what = fmt.Sprintf("concurrency of %.2f (%d for %v)", float64(t.InFlight)/t.Work.Seconds()/offered, t.InFlight, t.Work.Round(time.Millisecond))
	case Slow:
		what = fmt.Sprintf("work takes %.1f times as long", t.Factor)
	}
	if part := t.Part.of(d); part != "" {
		what += " of " + part
	}
	what += fmt.Sprintf(" %v–", seconds(t.From))
	if t.To < d.Work.Sending {
		what += fmt.Sprint(seconds(t.To))
	}
	switch t.Kind {
	case Slow, Hanging, Quota:
		return what
	}
	return what + ", " + refusal(t.Refusal.Status, t.Refusal.Hint)
}

// of names a part.
func (p Part) of(d Draw) string {
	switch p.Of {
	case Paths:
		return fmt.Sprintf("1 of %d paths", d.Work.Paths)
	case Credentials:
		return fmt.Sprintf("1 of %d credentials", d.Work.Credentials)
	case Replicas:
		return "1 replica"
	}
	return ""
}

// share is that of the part in all requests.
func (p Part) share(d Draw) float64 {
	return 1 / float64([...]int{1, d.Work.Paths, d.Work.Credentials, d.Work.Replicas}[p.Of])
}

func refusal(status, hint int) string {
	if hint == 0 {
		return fmt.Sprint(status)
	}
	return fmt.Sprintf("%d Retry-After %d", status, hint)
}

func seconds(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
