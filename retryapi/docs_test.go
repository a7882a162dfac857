package retryapi

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

// RETRY_LOGIC.md names all that is withheld by default.
func TestDocs_NameWhatIsWithheld(t *testing.T) {
	raw, err := os.ReadFile("../docs/RETRY_LOGIC.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(string(raw), "| headers | `Authorization`, ")
	row, _, _ = strings.Cut(row, "\n")
	for _, part := range DefaultWithhold() {
		if !strings.Contains(row, strings.Trim(part, "-")) {
			t.Errorf("it does not name %q", part)
		}
	}
	if replayTimeout+claimSlack != 130*time.Second || replayTimeout != 2*time.Minute {
		t.Errorf("got a lease of %v, want the 2 min 10 s of the document", replayTimeout+claimSlack)
	}
}

// The user that OPERATIONS.md makes may do all that a lot does.
func TestDocs_UserOfRedisIsEnough(t *testing.T) {
	raw, err := os.ReadFile("../docs/OPERATIONS.md")
	must(t, err)
	line := regexp.MustCompile("redis-cli (ACL SETUSER holdoff .*)").FindStringSubmatch(string(raw))
	if line == nil {
		t.Fatal("there is no ACL SETUSER")
	}
	s := redistest.Start(t)
	var command []any
	for word := range strings.FieldsSeq(strings.ReplaceAll(line[1], "'", "")) {
		command = append(command, word)
	}
	must(t, s.Client().Do(t.Context(), command...).Err())
	client := redis.NewClient(&redis.Options{Addr: s.Addr, Username: "holdoff", Password: "password"})
	defer client.Close()
	l, err := NewRedisLot(client, RedisLotOptions{Timeout: 10 * time.Second, Bounds: Bounds{Requests: 2, Age: time.Second}})
	must(t, err)
	for range 3 { // the third makes the first go
		park(t, l, parkable(t, "PUT", "https://api.example.com/", []byte("x")))
	}
	for i, id := range ids(t, l) {
		c := claim(t, l, id, 4)
		must(t, l.Begin(t.Context(), c, lease))
		must(t, l.Settle(t.Context(), c, Result{Sent: true, Good: i == 0, Status: 503}))
	}
	time.Sleep(1100 * time.Millisecond) // the other one is too old, and is dropped
	park(t, l, parkable(t, "PUT", "https://api.example.com/", nil))
}

// What RETRY_LOGIC.md shows of POST /retry are calls and answers as they are.
func TestDocumentedCalls(t *testing.T) {
	raw, err := os.ReadFile("../docs/RETRY_LOGIC.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	blocks := regexp.MustCompile("(?s)```http\n(.*?)\n\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(blocks) != 2 {
		t.Fatalf("there are %d blocks of HTTP, want a call and an answer", len(blocks))
	}
	for i, into := range []any{&RetryRequest{}, &RetryResponse{}} {
		d := json.NewDecoder(strings.NewReader(blocks[i][2]))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			t.Errorf("%T: %v", into, err)
		}
		again, err := json.MarshalIndent(into, "", "  ")
		if err != nil || string(again) != strings.TrimSpace(blocks[i][2]) {
			t.Errorf("%T is shown as\n%s\nand is\n%s", into, blocks[i][2], again)
		}
	}
	for _, want := range []string{
		"ms to wait before it, " + strconv.Itoa(int(defaultSleep.Minutes())) + " min at most",
		"more than " + strconv.Itoa(maxCall>>10) + " KiB",
		"`PrepareTimeout`, " + strconv.Itoa(int(defaultPrepare.Seconds())) + " s by default",
		"for 2 min 10 s, and the send", // replayTimeout and claimSlack
		"the server answered 302 Found, which is not followed",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
}
