package real

import (
	"flag"
	"io"
	"math"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// TestMain makes the test binary be a replica where a run starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv(ReplicaEnv) != "" {
		os.Exit(Replica(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// small is a fleet of two that meets a broken path.
func small(contenders ...string) Trial {
	return Trial{
		Scenario: fleet.Scenario{
			Name:   "small",
			Server: func() http.Handler { return fleet.Paths{"/a": &fleet.Random{Share: 1, Status: http.StatusNotFound}} },
			Work:   fleet.Work{Replicas: 2, Rate: 20, Sending: time.Second, Timeout: 10 * time.Second, Paths: 2}, Capacity: 40,
		},
		Contenders: contenders,
	}
}

func TestRun(t *testing.T) {
	srv := redistest.Start(t)
	rows, err := Run(t.Context(), []Trial{small(shared, alone, bare)}, srv, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{shared, alone, bare} {
		r := rows[i]
		if r.Contender != name || r.Requests != 40 || r.Served+r.Failed != 40 || r.Sent != 40 || r.Refused != r.Failed {
			t.Errorf("got %+v, want 40 requests of %s, of which each is sent once", r, name)
		}
		if r.Served == 0 || r.Failed == 0 {
			t.Errorf("%s: %d served and %d failed, want some of each", name, r.Served, r.Failed)
		}
		if r.P50 < latency || r.P50 > time.Second {
			t.Errorf("%s: got p50 %v, want little more than %v", name, r.P50, latency)
		}
		if (r.Commands > 0) != (name == shared) {
			t.Errorf("%s: got %d Redis commands", name, r.Commands)
		}
	}
}

func TestRunWithoutRedis(t *testing.T) {
	rows, err := Run(t.Context(), []Trial{small(shared, bare)}, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0].Contender != bare {
		t.Errorf("got %+v, want a row of %s only", rows, bare)
	}
}

// All that one replica asks for fails, and a killed process takes nothing with it
// but what it had under way.
func TestUnreachableAndRestarted(t *testing.T) {
	trial := small(bare)
	trial.Server, trial.Unreachable = well, 1
	trial.disturb = rollingRestart(300*time.Millisecond, 200*time.Millisecond)
	rows, err := Run(t.Context(), []Trial{trial}, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := rows[0]
	if r.Failed < 10 || r.Failed > 20 || r.Served < 10 || r.Served > 20 || r.Sent < r.Served {
		t.Errorf("got %d served and %d failed of %d sends, want close to 20 of each", r.Served, r.Failed, r.Sent)
	}
}

// What ends a replica early fails the run.
func TestReplicaFails(t *testing.T) {
	trial := small("nobody")
	if _, err := Run(t.Context(), []Trial{trial}, nil, io.Discard); err == nil {
		t.Error("a contender that is not there was run")
	}
	x := &experiment{Trial: small(bare), contender: contender{name: "nobody"}}
	if _, err := x.run(t.Context()); err == nil {
		t.Error("a replica that did not get ready was not missed")
	}
}

func TestTrials(t *testing.T) {
	names := make(map[string]bool)
	for _, trial := range append(Trials, Quick...) {
		if names[trial.Name] {
			t.Errorf("there are two trials %q", trial.Name)
		}
		names[trial.Name] = true
		if trial.Capacity == 0 {
			t.Errorf("%s: no capacity", trial.Name)
		}
		for _, name := range trial.Contenders {
			if _, err := contenderNamed(name); err != nil {
				t.Errorf("%s: %v", trial.Name, err)
			}
		}
	}
}

func TestRow(t *testing.T) {
	s := fleet.Scenario{
		Work: fleet.Work{Replicas: 2, Rate: 10, Sending: 3 * time.Second}, Capacity: 10, Released: time.Second,
	}
	answer := func(at int) fleet.Answer {
		return fleet.Answer{Asked: time.Duration(at) * 100 * time.Millisecond, Took: 50 * time.Millisecond, Served: at >= 10}
	}
	var answers []fleet.Answer
	slots := make(fleet.Slots, 30)
	for at := range slots {
		answers = append(answers, answer(at))
		slots[at] = fleet.Count{Sent: 1}
		if at >= 10 {
			slots[at].Served = 1
		}
	}
	slots[4].Sent, slots[12].Sent = 20, 5
	r := row(s, "peer", answers, slots)
	if math.Abs(r.Goodput-2.0/3) > 1e-9 {
		t.Errorf("got goodput %v, want two thirds", r.Goodput)
	}
	if r.Peak != 2.5 {
		t.Errorf("got peak %v, want 2.5: what came before the end of the trouble is none", r.Peak)
	}
	if !r.Recovered || r.Recovery != 0 {
		t.Errorf("got recovery %v, %v, want at once", r.Recovery, r.Recovered)
	}
	s.Released = 0
	if r := row(s, "peer", answers, slots); r.Peak != 0 || r.Recovered {
		t.Errorf("got peak %v, recovered %v of a trouble that does not end", r.Peak, r.Recovered)
	}
}

func TestMarkdown(t *testing.T) {
	one := Trial{Scenario: fleet.Scenario{
		Name: "outage", About: "503 for a while", Released: time.Second,
		Work: fleet.Work{Replicas: 16, Rate: 25, Sending: 15 * time.Second, Timeout: 30 * time.Second},
	}}
	two := Trial{Scenario: fleet.Scenario{Name: "bucket", About: "200 per second", Work: one.Work}, Why: "Others do the same."}
	got := Markdown([]Trial{one, two, {Scenario: fleet.Scenario{Name: "left out"}}}, []Row{
		{
			Scenario: "outage", Contender: shared, Goodput: 0.97, Peak: 1.23, Recovery: 1500 * time.Millisecond, Recovered: true, Commands: 12345,
			Result: fleet.Result{Requests: 6000, Served: 5990, Failed: 10, Sent: 6060, Refused: 60, P50: 6 * time.Millisecond, P99: 2345 * time.Millisecond},
		},
		{Scenario: "outage", Contender: bare, Peak: 1},
		{Scenario: "bucket", Contender: bare, Result: fleet.Result{Requests: 2, Sent: 3}},
	})
	const golden = "testdata/markdown.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
