package holdoff_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/go-holdoff/holdoff"
)

// A call of an LLM API says what it may cost, and then what it did.
func ExampleWithCost() {
	store := &holdoff.MemoryStore{}
	client := &http.Client{Transport: &holdoff.Transport{Store: store}}
	call := func(ctx context.Context, promptTokens, maxTokens int) (totalTokens int, err error) {
		ctx = holdoff.WithCost(ctx, holdoff.Cost{"tokens": float64(promptTokens + maxTokens)})
		ctx = holdoff.WithScope(ctx, "gpt-5")
		ctx = holdoff.WithPriority(ctx, 1) // batch has 0
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://llm.invalid/v1/chat/completions", nil)
		if err != nil {
			return 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		totalTokens = 1200 // from the body
		holdoff.Charge(ctx, holdoff.Cost{"tokens": float64(totalTokens)})
		return totalTokens, nil
	}
	_ = call
	// Output:
}

// What is charged after a call of an unknown cost is what the next one is assumed to cost.
func ExampleCharge() {
	ctx, totalTokens := context.Background(), 1200
	ctx = holdoff.WithCost(ctx, nil)                                  // for the call
	holdoff.Charge(ctx, holdoff.Cost{"tokens": float64(totalTokens)}) // after it
	// Output:
}

// Limits that the server does not say are those of the fleet.
func ExampleTransport_limits() {
	store := &holdoff.MemoryStore{}
	transport := &holdoff.Transport{
		Store: store,
		Limits: []holdoff.Limit{
			{Name: "requests", Max: 50, Per: time.Second},
			{Name: "in flight", Max: 100},
		},
	}
	fmt.Println(len(transport.Limits), "limits")
	// Output: 2 limits
}
