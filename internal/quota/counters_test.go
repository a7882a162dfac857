package quota

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// resource is GitHub's way of saying what remains of which limit.
func resource(name string, left, seconds int) []string {
	return []string{fmt.Sprint("X-RateLimit-Remaining: ", left), fmt.Sprint("X-RateLimit-Reset: ", seconds), "X-RateLimit-Resource: " + name}
}

// item is one item of a RateLimit field.
func item(name string, left, seconds int) string {
	return fmt.Sprintf(`%q;r=%d;t=%d`, name, left, seconds)
}

// said lets an answer come at d, and checks of which limit what is believed.
func (tr *quotaTrace) said(d time.Duration, want string, headers ...string) {
	tr.t.Helper()
	q, name, ok := tr.q.Read(header(headers...), tr.of, tr.took, tr.start.Add(d), 5*time.Minute)
	got := tr.word(q, ok)
	if name != "" {
		got = name + ": " + got
	}
	if got != want {
		tr.t.Fatalf("at %v, %q: got %q, want %q", d, headers, got, want)
	}
}

func TestCounters_NamedLimitsInTurns_EachIsBelieved(t *testing.T) {
	tr := newQuotaTrace(t)
	for i := range MinDecreases {
		at := time.Duration(i) * 100 * ms
		tr.said(at, "-", resource("core", 4900-i, 200)...)
		tr.said(at+50*ms, "-", resource("search", 30-i, 60)...)
	}
	tr.said(300*ms, "core: 4897 until 3m20s", resource("core", 4897, 200)...)
	tr.said(350*ms, "search: 27 until 1m0.05s", resource("search", 27, 60)...)
	tr.said(400*ms, "core: 4896 until 3m20s", resource("core", 4896, 200)...)
}

// The same numbers without their names are those of no counter.
func TestCounters_UnnamedLimitsInTurns_AreDoubted(t *testing.T) {
	tr := newQuotaTrace(t)
	for i := range 200 {
		at := time.Duration(i) * 100 * ms
		tr.said(at, "-", resource("core", 4900-i, 200)[:2]...)
		tr.said(at+50*ms, "-", resource("search", 300-i, 60)[:2]...)
	}
}

func TestCounters_OneContradictsItself_TheOthersAreStillBelieved(t *testing.T) {
	tr := newQuotaTrace(t)
	for i := range MinDecreases + 1 {
		at := time.Duration(i) * 100 * ms
		tr.said(at, map[bool]string{false: "-", true: fmt.Sprintf("core: %d until 3m20s", 4900-i)}[i == MinDecreases], resource("core", 4900-i, 200)...)
		tr.read(at, resource("search", 30-i, 60)...)
		tr.read(at, field(100-i, 60))
	}
	tr.said(500*ms, "search: lies", resource("search", 4000, 250)...)
	tr.said(600*ms, "-", resource("search", 26, 60)...)
	tr.said(600*ms, "core: 4896 until 3m20s", resource("core", 4896, 200)...)
	tr.said(600*ms, "96 until 1m0s", field(96, 60))
}

func TestCounters_SeveralItemsInOneField_TheMostUrgentIsReturned(t *testing.T) {
	tr := newQuotaTrace(t)
	both := func(hour, burst, seconds int) string {
		return "RateLimit: " + item("hour", hour, 250) + ", " + item("burst", burst, seconds)
	}
	for i := range MinDecreases {
		tr.said(time.Duration(i)*100*ms, "-", both(900-i, 100-i, 30))
	}
	tr.said(300*ms, "burst: 97 until 30s", both(897, 97, 30))
	// The hour's is the smaller number now; each goes on by itself.
	tr.said(400*ms, "hour: 50 until 4m10s", both(50, 96, 30))
	// A counter that contradicts itself is reported at once: it says so only once.
	tr.said(500*ms, "burst: lies", both(49, 4000, 200))
	tr.said(600*ms, "hour: 48 until 4m10s", both(48, 4000, 200))
	// One that is nearly used up goes before one of which less remains.
	tr = newQuotaTrace(t)
	for i := range MinDecreases + 1 {
		tr.read(time.Duration(i)*100*ms, both(30-i, 400-100*i, 30))
	}
	tr.said(400*ms, "burst: 40 until 30s, near", both(26, 40, 30))
}

// An item without a name, or with the usual one for that, is not a limit of its own.
func TestCounters_DefaultBesideANamedItem_IsTheUnnamedCounter(t *testing.T) {
	tr := newQuotaTrace(t)
	for i := range MinDecreases + 1 {
		tr.read(time.Duration(i)*100*ms, field(100-i, 60)+", "+item("hour", 900-i, 250))
	}
	tr.said(400*ms, "96 until 1m0s", field(96, 60)+", "+item("hour", 896, 250))
	tr.said(500*ms, "95 until 1m0s", field(95, 60))
}

// The numbers of names beyond the bound are ignored, and do not disturb the counter
// without a name.
func TestCounters_MoreNamesThanAreKept_AreIgnored(t *testing.T) {
	tr := newQuotaTrace(t)
	for i := range 10 * maxNamed {
		for round := range MinDecreases + 1 {
			at := time.Duration(round) * 100 * ms
			_, name, ok := tr.q.Read(header(resource(fmt.Sprint("limit", i), 100-round, 60)...), nobody, tr.took, tr.start.Add(at), time.Hour)
			if last := round == MinDecreases; ok != (last && i < maxNamed) || (ok && name != fmt.Sprint("limit", i)) {
				t.Fatalf("name %d, round %d: got %q, %t", i, round, name, ok)
			}
		}
	}
	if known := len(*tr.q.named.Load()); known != maxNamed {
		t.Errorf("%d counters are kept, want %d", known, maxNamed)
	}
	for i := range MinDecreases {
		tr.said(time.Duration(i)*100*ms, "-", field(100-i, 60))
	}
	tr.said(300*ms, "97 until 1m0s", field(97, 60))
}

// One name is the counter of each sender by itself: what one has left says nothing of
// another.
func TestCounters_OneNameOfSeveralSenders_EachIsBelieved(t *testing.T) {
	tr := newQuotaTrace(t)
	for i := range MinDecreases + 1 {
		for tr.token = range uint64(3) {
			last := i == MinDecreases
			left := int(tr.token+1)*1000 - i
			tr.said(time.Duration(i)*100*ms, map[bool]string{false: "-", true: fmt.Sprintf("core: %d until 3m20s", left)}[last], resource("core", left, 200)...)
		}
	}
}

// Tokens that are used no more make room for new ones, once their windows are over.
func TestCounters_OfFormerSenders_MakeRoom(t *testing.T) {
	tr := newQuotaTrace(t)
	for tr.token = range uint64(maxNamed) {
		tr.read(0, resource("core", 4900, 60)...)
	}
	learn := func(from time.Duration) (ok bool) {
		for i := range MinDecreases + 1 {
			_, ok = tr.read(from+time.Duration(i)*100*ms, resource("core", 4900-i, 60)...)
		}
		return ok
	}
	if tr.token = maxNamed; learn(time.Second) {
		t.Error("there was room for one more")
	}
	if !learn(2*time.Minute) || len(*tr.q.named.Load()) != 1 {
		t.Errorf("a new token's counter is not believed; %d are kept", len(*tr.q.named.Load()))
	}
}

func TestCounters_KnownNames_AllocateNothing(t *testing.T) {
	now := time.Now()
	for _, headers := range [][]string{
		nil, {field(9, 5)}, resource("search", 9, 5), {"RateLimit: " + item("hour", 9, 5) + ", " + item("burst", 9, 5)},
	} {
		var q Counters
		h := header(headers...)
		if n := testing.AllocsPerRun(100, func() { q.Read(h, nobody, 0, now, time.Minute) }); n != 0 {
			t.Errorf("%q: %v allocations, want 0", headers, n)
		}
	}
}

func TestCounters_ConcurrentUse_KeepsEachNameOnce(t *testing.T) {
	var q Counters
	now := time.Now()
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 500 {
				name := fmt.Sprint("limit", (i+worker)%(maxNamed+4))
				q.Read(header(resource(name, 1000-i, 60)...), nobody, ms, now.Add(time.Duration(i)*ms), time.Hour)
				q.Read(http.Header{"Ratelimit": {fmt.Sprintf(`"default";r=%d;t=60`, 1000-i)}}, nobody, ms, now.Add(time.Duration(i)*ms), time.Hour)
				q.Used()
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, n := range *q.named.Load() {
		if seen[n.name] || !strings.HasPrefix(n.name, "limit") {
			t.Errorf("%q is kept twice, or is no name that was given", n.name)
		}
		seen[n.name] = true
	}
	if len(seen) != maxNamed {
		t.Errorf("%d names are kept, want %d", len(seen), maxNamed)
	}
}
