package holdoffprom

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

type dashboard struct {
	Panels []struct {
		ID          int
		Title       string
		Description string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func loadDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Panels have names and explanations, and lie side by side.
func TestDashboardLayout(t *testing.T) {
	t.Parallel()
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range loadDashboard(t).Panels {
		if p.Title == "" || p.Description == "" || len(p.Targets) == 0 || ids[p.ID] {
			t.Errorf("panel %d %q has no title, description or query, or the id of another", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies over %q, or beyond the edge", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
}

// A real Prometheus scrapes a Collector whose Transport has all troubles, and
// answers every query of the dashboard with something; it loads the alerts, and
// has all metrics that they name.
func TestWithPrometheus(t *testing.T) {
	t.Parallel()
	api := startPrometheus(t, troubled(t))
	for _, p := range loadDashboard(t).Panels {
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, `job=~"$job"`) {
				t.Errorf("%s: %s is of all jobs", p.Title, target.Expr)
			}
			api.some(t, filled.Replace(target.Expr))
		}
	}
	for _, v := range loadDashboard(t).Templating.List {
		if v.Name == "datasource" {
			continue
		}
		m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Definition)
		if m == nil {
			t.Fatalf("variable %s: %s is no label_values", v.Name, v.Definition)
		}
		api.some(t, fmt.Sprintf(`count by (%s) (%s{%[1]s!=""})`, m[2], filled.Replace(strings.TrimSuffix(m[1], `{job=~"$job"}`))))
	}
	names := api.labelValues(t, "__name__")
	for _, name := range regexp.MustCompile(`holdoff_\w+`).FindAllString(strings.Join(api.alerts(t), "\n"), -1) {
		if !names[name] {
			t.Errorf("an alert names %s, which is not exposed", name)
		}
	}
}

// filled stands in for what Grafana makes of its variables.
var filled = strings.NewReplacer("$__rate_interval", "5s", "$job", ".*", "$key", ".*")

// troubled exposes a Collector whose Transport retries, waits, gives up and is
// held all the time, and whose store has failed once.
func troubled(t *testing.T) *httptest.Server {
	transport := &holdoff.Transport{Route: oneScope, Store: somePaced{&holdoff.MemoryStore{}}}
	collector := &Collector{Transport: transport}
	transport.Observe = collector.Observe
	collector.Observe(t.Context(), holdoff.Event{Kind: holdoff.StoreFailed})

	var n int
	var mu sync.Mutex
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch n++; {
		case n%10 == 0:
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
		case n%3 == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				ctx, cancel := context.WithTimeout(ctx, time.Duration(1+i)*time.Second)
				send(ctx, transport, api.URL)
				cancel()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	wg.Go(func() { send(ctx, transport, "http://paced") })
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	metrics := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		api.Close()
		metrics.Close()
	})
	return metrics
}

// promAPI is the HTTP API of a Prometheus.
type promAPI string

// startPrometheus runs a Prometheus that scrapes target, with the alert rules.
func startPrometheus(t *testing.T, target *httptest.Server) promAPI {
	t.Helper()
	dir, path := t.TempDir(), binary(t, "prometheus")
	rules, err := filepath.Abs("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 500ms}\nrule_files: [%q]\n"+
		"scrape_configs: [{job_name: billing, static_configs: [{targets: [%q]}]}]\n", rules, target.Listener.Addr())
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", redistest.FreePort(t))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--config.file", filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", addr)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("prometheus said:\n%s", text)
		}
	})
	return promAPI("http://" + addr)
}

func (api promAPI) get(t *testing.T, path string, query url.Values, data any) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, string(api)+path+"?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Data  any
		Error string
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != "" {
		t.Fatalf("%s: %s", query, answer.Error) // it does not parse: no wait will help
	}
	return nil
}

// some waits until expr has a value that is a number.
func (api promAPI) some(t *testing.T, expr string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var data struct {
			Result []struct{ Value [2]any }
		}
		if api.get(t, "/api/v1/query", url.Values{"query": {expr}}, &data) != nil {
			continue // it is not up yet
		}
		for _, r := range data.Result {
			text, _ := r.Value[1].(string)
			if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
				return
			}
		}
	}
	t.Errorf("nothing comes of %s", expr)
}

func (api promAPI) labelValues(t *testing.T, label string) map[string]bool {
	t.Helper()
	var list []string
	if err := api.get(t, "/api/v1/label/"+label+"/values", nil, &list); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, v := range list {
		found[v] = true
	}
	return found
}

// alerts are the queries of the alert rules, as Prometheus read them.
func (api promAPI) alerts(t *testing.T) (queries []string) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Query, LastError string }
		}
	}
	if err := api.get(t, "/api/v1/rules", nil, &data); err != nil {
		t.Fatal(err)
	}
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			if rule.LastError != "" {
				t.Errorf("%s: %s", rule.Name, rule.LastError)
			}
			queries = append(queries, rule.Query)
		}
	}
	if len(queries) == 0 {
		t.Error("Prometheus has no alerts")
	}
	return queries
}
