package holdoffprom

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// A Redis that dies and comes back, as a scrape sees it.
func TestStoreThatDies(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	store, err := holdoff.NewRedisStore(client, holdoff.RedisOptions{Namespace: "telemetry", Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	transport, collector := watched(429, 429, 429, 429, 429, 429)
	transport.Store, transport.MaxWait = store, -1

	send(t.Context(), transport, "http://a/")
	eventually(t, collector, "holdoff_store_up 1", `holdoff_keys{key="http://a",phase="held",scope="key"} 1`)
	server.Kill()
	send(t.Context(), transport, "http://b/")
	eventually(t, collector, "holdoff_store_up 0", "holdoff_store_failures_total 1")
	server.Restart()
	eventually(t, collector, "holdoff_store_up 1")
}

// eventually waits until a scrape has the lines.
func eventually(t *testing.T, collector prometheus.Collector, lines ...string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text, missing := exposed(t, collector), ""
		for _, line := range lines {
			if !strings.Contains(text, "\n"+line+"\n") {
				missing = line
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no %s in\n%s", missing, text)
		}
	}
}
