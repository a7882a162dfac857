package vendors_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

// DynamoDB refuses with a 400 whose body says why. By its status neither a 400 nor
// a POST is retried; a refusal is.
func ExampleAWS() {
	refusals := 1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refusals > 0 {
			refusals--
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"com.amazon.coral.availability#ThrottlingException"}`)
		}
	}))
	defer server.Close()

	client := &http.Client{Transport: &holdoff.Transport{
		Classify: vendors.AWS(nil),
		Backoff:  holdoff.Exponential{Base: time.Millisecond}, // a second, if the example had the time
	}}
	var out holdoff.Outcome
	ctx := holdoff.WithOutcome(context.Background(), &out)
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader(`{"TableName":"t"}`))
	if resp, err := client.Do(req); err == nil {
		resp.Body.Close()
	}
	fmt.Println(out.Attempts, out.Status)
	// Output: 2 200
}

// A secondary limit that only the body states holds the host for the minute that
// GitHub asks for.
func ExampleGitHub() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"message":"You have exceeded a secondary rate limit.",
			"documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`)
	}))
	defer server.Close()

	transport := &holdoff.Transport{Classify: vendors.GitHub(nil), MaxWait: 5 * time.Second}
	client := &http.Client{Transport: transport}
	if resp, err := client.Get(server.URL); err == nil {
		resp.Body.Close()
	}
	_, err := client.Get(server.URL) // not sent
	fmt.Println(strings.Contains(err.Error(), "is held for"))
	// Output: true
}

// Without credit every further attempt is useless: the caller has its answer at
// once, and the host is not held for other credentials.
func ExampleOpenAI() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}`)
	}))
	defer server.Close()

	transport := &holdoff.Transport{Classify: vendors.OpenAI(nil)}
	client := &http.Client{Transport: transport}
	var out holdoff.Outcome
	ctx := holdoff.WithIdempotent(holdoff.WithOutcome(context.Background(), &out))
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader(`{"model":"m"}`))
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(out.Attempts, out.Status, string(body))
	// Output: 1 429 {"error":{"type":"insufficient_quota","code":"insufficient_quota"}}
}
