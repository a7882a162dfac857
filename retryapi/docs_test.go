package retryapi

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

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
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
}
