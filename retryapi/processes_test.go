package retryapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// A caller is this test binary, started once more with callerEnv set. For each
// number on its standard input it makes that attempt, many times at once, and
// prints the statuses of the answers.

const callerEnv = "HOLDOFF_RETRYAPI_CALLER"

type callerConfig struct {
	Redis, ID string
	Calls     int
}

func runCaller(config string) {
	var c callerConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		panic(err)
	}
	lot, err := NewRedisLot(redis.NewClient(&redis.Options{Addr: c.Redis}), RedisLotOptions{Timeout: 30 * time.Second})
	if err != nil {
		panic(err)
	}
	h := &Handler{Transport: &holdoff.Transport{}, Lot: lot}
	out := json.NewEncoder(os.Stdout)
	out.Encode(map[int]int{}) // ready
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		attempt, err := strconv.Atoi(in.Text())
		if err != nil {
			panic(err)
		}
		out.Encode(statuses(h, c.ID, attempt, c.Calls))
	}
}

func TestOneSendAmongProcesses(t *testing.T) {
	const processes, calls, rounds = 4, 12, 3
	var sends atomic.Int32
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sends.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer backend.Close()
	s := redistest.Start(t)
	lot := redisLot(t, s, RedisLotOptions{})
	id := park(t, lot, parkable(t, "PUT", backend.URL, []byte("x")))
	config, err := json.Marshal(callerConfig{Redis: s.Addr, ID: id, Calls: calls})
	must(t, err)

	type caller struct {
		in  func(string)
		out *json.Decoder
	}
	var callers []caller
	runtime.LockOSThread() // the death signal is the thread's
	defer runtime.UnlockOSThread()
	for range processes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), callerEnv+"="+string(config))
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		stdin, err := cmd.StdinPipe()
		must(t, err)
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		t.Cleanup(func() {
			stdin.Close()
			cmd.Wait()
		})
		c := caller{func(line string) { fmt.Fprintln(stdin, line) }, json.NewDecoder(stdout)}
		var ready map[int]int
		if err := c.out.Decode(&ready); err != nil {
			t.Fatalf("a caller is not ready: %v", err)
		}
		callers = append(callers, c)
	}
	for round := range rounds {
		attempt := 4 + round
		all := map[int]int{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, c := range callers {
			wg.Go(func() {
				c.in(strconv.Itoa(attempt))
				var got map[int]int
				if err := c.out.Decode(&got); err != nil {
					t.Errorf("a caller has ended: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				for status, n := range got {
					all[status] += n
				}
			})
		}
		wg.Wait()
		if want := map[int]int{200: 1, 409: processes*calls - 1}; !maps.Equal(all, want) {
			t.Errorf("attempt %d: got the statuses %v, want %v", attempt, all, want)
		}
		if got := int(sends.Load()); got != round+1 {
			t.Errorf("attempt %d: got %d sends in all, want %d", attempt, got, round+1)
		}
	}
	list, _, err := lot.List(t.Context(), 10)
	must(t, err)
	if len(list) != 1 || list[0].Attempt != 4+rounds || list[0].Status != 500 || !strings.Contains(list[0].Error, "500") {
		t.Errorf("got %+v, want the one, with the next number %d", list, 4+rounds)
	}
}
