package vendors_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

// DynamoDB refuses with a 400 whose body says why. A 400 would not be retried,
// nor would a POST: a refusal is.
func ExampleClassifyAWS() {
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
		Base:     &vendors.AWS{},
		Classify: vendors.ClassifyAWS,
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

// A secondary limit that only the body tells holds the host for the minute that
// GitHub asks for.
func ExampleGitHub() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"message":"You have exceeded a secondary rate limit.",
			"documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`)
	}))
	defer server.Close()

	transport := &holdoff.Transport{Base: &vendors.GitHub{}, MaxWait: 5 * time.Second}
	client := &http.Client{Transport: transport}
	if resp, err := client.Get(server.URL); err == nil {
		resp.Body.Close()
	}
	_, err := client.Get(server.URL) // not sent
	fmt.Println(strings.Contains(err.Error(), "is held for"))
	// Output: true
}
