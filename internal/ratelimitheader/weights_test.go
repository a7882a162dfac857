package ratelimitheader

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/limit"
)

const noReset = limit.Unknown

func of(name string, size, remaining float64, reset, per time.Duration, charged float64) limit.Limit {
	return limit.Limit{Name: name, Max: size, Remaining: remaining, Reset: reset, Per: per, Charged: charged}
}

// The headers are those that the vendors document, or that were seen in issues.
func TestLimits_OfEachVendor_AreRead(t *testing.T) {
	const s = time.Second
	date := "Date: Sun, 01 Mar 2026 12:00:00 GMT"
	for _, tt := range []struct {
		name    string
		headers []string
		want    []limit.Limit
	}{
		{"OpenAI", []string{
			"X-Ratelimit-Limit-Requests: 60", "X-Ratelimit-Remaining-Requests: 59", "X-Ratelimit-Reset-Requests: 1s",
			"X-Ratelimit-Limit-Tokens: 150000", "X-Ratelimit-Remaining-Tokens: 149984", "X-Ratelimit-Reset-Tokens: 6m0s",
		}, []limit.Limit{of("requests", 60, 59, s, 0, 0), of("tokens", 150000, 149984, 360*s, 0, 0)}},
		{"Groq", []string{
			"X-Ratelimit-Limit-Requests: 14400", "X-Ratelimit-Remaining-Requests: 14370", "X-Ratelimit-Reset-Requests: 2m59.56s",
			"X-Ratelimit-Limit-Tokens: 18000", "X-Ratelimit-Remaining-Tokens: 17997", "X-Ratelimit-Reset-Tokens: 7.66s",
		}, []limit.Limit{of("requests", 14400, 14370, 179560*time.Millisecond, 0, 0), of("tokens", 18000, 17997, 7660*time.Millisecond, 0, 0)}},
		{"Azure OpenAI, unknown", []string{
			"X-Ratelimit-Limit-Tokens: -1", "X-Ratelimit-Remaining-Tokens: -1", "X-Ratelimit-Reset-Tokens: 0",
			"X-Ratelimit-Remaining-Requests: 0", "X-Ratelimit-Reset-Requests: 0",
		}, nil},
		{"Azure OpenAI, in whole seconds", []string{
			"X-Ratelimit-Limit-Tokens: 120000", "X-Ratelimit-Remaining-Tokens: 1000", "X-Ratelimit-Reset-Tokens: 42",
		}, []limit.Limit{of("tokens", 120000, 1000, 42*s, 0, 0)}},
		{"Anthropic", []string{
			date,
			"Anthropic-Ratelimit-Requests-Limit: 50", "Anthropic-Ratelimit-Requests-Remaining: 49", "Anthropic-Ratelimit-Requests-Reset: 2026-03-01T12:00:01Z",
			"Anthropic-Ratelimit-Input-Tokens-Limit: 40000", "Anthropic-Ratelimit-Input-Tokens-Remaining: 0", "Anthropic-Ratelimit-Input-Tokens-Reset: 2026-03-01T12:01:00Z",
			"Anthropic-Ratelimit-Output-Tokens-Limit: 8000", "Anthropic-Ratelimit-Output-Tokens-Remaining: 8000", "Anthropic-Ratelimit-Output-Tokens-Reset: 2026-03-01T11:59:59Z",
		}, []limit.Limit{of("requests", 50, 49, s, 0, 0), of("input-tokens", 40000, 0, 60*s, 0, 0), of("output-tokens", 8000, 8000, 0, 0, 0)}},
		{"Mistral", []string{
			"X-Ratelimit-Limit-Tokens-Minute: 500000", "X-Ratelimit-Remaining-Tokens-Minute: 499958", "X-Ratelimit-Tokens-Query-Cost: 42",
			"X-Ratelimit-Limit-Tokens-Month: 1000000000", "X-Ratelimit-Remaining-Tokens-Month: 999999958",
		}, []limit.Limit{of("tokens", 500000, 499958, noReset, time.Minute, 42), of("tokens", 1e9, 999999958, noReset, month, 42)}},
		{"Mistral, of old", []string{
			"Ratelimitbysize-Limit: 500000", "Ratelimitbysize-Remaining: 499900", "Ratelimitbysize-Reset: 35", "Ratelimitbysize-Query-Cost: 100",
		}, []limit.Limit{of("tokens", 500000, 499900, 35*s, 0, 100)}},
		{"Shopify", []string{"X-Shopify-Shop-Api-Call-Limit: 39/40"}, []limit.Limit{of("requests", 40, 1, noReset, shopifyPeriod, 0)}},
		{"HubSpot", []string{
			"X-Hubspot-Ratelimit-Daily: 250000", "X-Hubspot-Ratelimit-Daily-Remaining: 249999",
			"X-Hubspot-Ratelimit-Secondly: 10", "X-Hubspot-Ratelimit-Secondly-Remaining: 9",
		}, []limit.Limit{of("requests", 10, 9, noReset, s, 0), of("requests", 250000, 249999, noReset, 24*time.Hour, 0)}},
		{"GitHub: a window of requests", []string{"X-Ratelimit-Limit: 5000", "X-Ratelimit-Remaining: 4999", "X-Ratelimit-Reset: 1772366400"}, nil},
		{"out of a cache", []string{"X-Shopify-Shop-Api-Call-Limit: 39/40", "Age: 5"}, nil},
		{"two lines of one field", []string{"X-Ratelimit-Remaining-Tokens: 5", "X-Ratelimit-Remaining-Tokens: 7"}, nil},
		{"no numbers", []string{"X-Shopify-Shop-Api-Call-Limit: a/b", "X-Ratelimit-Remaining-Tokens: many", "X-Ratelimit-Remaining-Requests: 1e3"}, nil},
		{"too much", []string{"X-Ratelimit-Remaining-Tokens: 1" + strings.Repeat("0", 40)}, nil},
		{"more used than there is", []string{"X-Shopify-Shop-Api-Call-Limit: 41/40"}, []limit.Limit{of("requests", 40, 0, noReset, shopifyPeriod, 0)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []limit.Limit
			now := time.Date(2026, 3, 1, 12, 0, 5, 0, time.UTC)
			Limits(answer(200, tt.headers...).Header, now, func(l limit.Limit) { got = append(got, l) })
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestLimits_OfKnownFields_AllocateNothing(t *testing.T) {
	for _, h := range []http.Header{{}, answer(200, "X-Ratelimit-Limit-Tokens: 150000", "X-Ratelimit-Remaining-Tokens: 149984").Header} {
		n := testing.AllocsPerRun(100, func() { Limits(h, time.Time{}, func(limit.Limit) {}) })
		if n != 0 {
			t.Errorf("%v: %v allocations, want 0", h, n)
		}
	}
}

// Whatever a server sends, the numbers of a limit can be added up.
func FuzzLimits(f *testing.F) {
	f.Add("X-Ratelimit-Remaining-Tokens", "149984", "150000", "6m0s")
	f.Add("Anthropic-Ratelimit-Tokens-Remaining", "-1", "0", "2026-03-01T12:01:00Z")
	f.Add("X-Shopify-Shop-Api-Call-Limit", "39/40", "", "")
	f.Fuzz(func(t *testing.T, name, remaining, size, reset string) {
		h := http.Header{}
		for _, families := range [][]limitFamily{vendorFamilies, weightFamilies} {
			for _, family := range families {
				h[family.remaining], h[family.limit], h[family.reset] = []string{remaining}, []string{size}, []string{reset}
			}
		}
		h[callLimit] = []string{remaining}
		h[name] = []string{remaining}
		Limits(h, time.Unix(1772366400, 0), func(l limit.Limit) {
			if !l.Valid() || l.Remaining < 0 || l.Name == "" || l.Reset < limit.Unknown {
				t.Errorf("got %+v", l)
			}
		})
	})
}
