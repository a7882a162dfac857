package vendors_test

import (
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

// verdictTest is a response to a POST, which nothing but a refusal allows to be sent
// again, and what it means.
type verdictTest struct {
	name   string
	status int
	header http.Header
	body   string
	want   holdoff.Verdict
}

func refusedFor(hint time.Duration, by string) holdoff.Verdict {
	return holdoff.Verdict{Retry: true, Lesson: holdoff.Refused, Hint: hint, Reason: "throttled by " + by}
}

// permanent teaches nothing: it does not hold the host for other credentials, and is
// no proof that the host is well.
func permanent(reason string) holdoff.Verdict { return holdoff.Verdict{Reason: reason} }

var (
	good        = holdoff.Verdict{Lesson: holdoff.Good, Reason: "ok"}
	clientError = holdoff.Verdict{Lesson: holdoff.Good, Reason: "client error"}
	// A 429 without a hint, to what is not idempotent.
	tooMany = holdoff.Verdict{Lesson: holdoff.Refused, Reason: "not idempotent"}
)

func verdicts(t *testing.T, classify vendors.Classifier, url string, tests []verdictTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range []vendors.Classifier{classify, everyone(classify)} {
				header := asJSON.Clone()
				maps.Copy(header, test.header)
				req, resp, _ := answered(t, http.MethodPost, url, test.status, header, strings.NewReader(test.body))
				if got := c(req, resp, nil); got != test.want {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
				if len(resp.Header) != len(header) || resp.StatusCode != test.status {
					t.Errorf("got %d with %v, want the response as it was", resp.StatusCode, resp.Header)
				}
				if body, err := io.ReadAll(resp.Body); string(body) != test.body || err != nil {
					t.Errorf("got body %q, %v; want %q", body, err, test.body)
				}
			}
		})
	}
}

// One failure per protocol, and what looks like one.
func TestAWS_Verdicts(t *testing.T) {
	t.Parallel()
	throttled := refusedFor(0, "AWS")
	verdicts(t, vendors.AWS(nil), "https://dynamodb.example/", []verdictTest{
		{
			"awsJson 1.0, with a namespace", 400, nil,
			`{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level …"}`, throttled,
		},
		{"awsJson 1.1, bare and spaced", 400, nil, "{\n  \"message\": \"Rate exceeded\",\n  \"__type\" : \"ThrottlingException\"\n}", throttled},
		{"restJson, in the header", 429, http.Header{"X-Amzn-Errortype": {"TooManyRequestsException:http://internal.amazon.com/coral/"}}, `{}`, throttled},
		{"restXml", 503, nil, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce</Message></Error>`, throttled},
		{"query", 400, nil, `<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>`, throttled},
		{"ec2", 503, nil, `<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>`, throttled},
		{"with a hint", 400, http.Header{"X-Amz-Retry-After": {"1500"}}, `{"__type":"ThrottlingException"}`, refusedFor(1500*time.Millisecond, "AWS")},
		{"another code", 400, nil, `{"__type":"ConditionalCheckFailedException"}`, clientError},
		{"the header says another", 400, http.Header{"X-Amzn-Errortype": {"ValidationException"}}, `{"__type":"ThrottlingException"}`, clientError},
		{"in a text of JSON", 400, nil, `{"message":"not a \"__type\":\"ThrottlingException\""}`, clientError},
		{"in a text of XML", 400, nil, `<Message>&lt;Code&gt;SlowDown&lt;/Code&gt;</Message>`, clientError},
		{"no body", 400, nil, ``, clientError},
		{"past what is looked at", 400, nil, strings.Repeat(" ", 16384) + `{"__type":"ThrottlingException"}`, clientError},
		{"a success", 200, nil, `{"__type":"ThrottlingException"}`, good},
	})
}

func TestOpenAI_Verdicts(t *testing.T) {
	t.Parallel()
	noQuota := permanent("insufficient quota")
	tooLarge := permanent("request above the limit")
	verdicts(t, vendors.OpenAI(nil), "https://api.openai.example/v1/chat/completions", []verdictTest{
		{
			"no credit", 429, nil,
			`{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, noQuota,
		},
		{"a spending limit, of which the type says it", 429, nil, `{"error":{"type":"insufficient_quota","code":"project_spend_limit_exceeded"}}`, noQuota},
		{"a spending limit, of which the code says it", 429, nil, `{"error":{"type":"billing","code":"organization_spend_limit_exceeded"}}`, noQuota},
		{"no active account", 429, nil, `{"error":{"message":"Your account is not active","type":"billing_not_active","code":"billing_not_active"}}`, noQuota},
		{"in spite of a hint", 429, http.Header{"Retry-After": {"20"}, "X-Should-Retry": {"true"}}, `{"error":{"type":"insufficient_quota"}}`, noQuota},
		{"a code that is a number, from a server with the same API", 429, nil, `[{"error":{"type":"insufficient_quota","code":429}}]`, noQuota},
		{
			"a request above the limit", 429, nil,
			`{"error":{"message":"Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 30601. The input or output tokens must be reduced in order to run successfully.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`, tooLarge,
		},
		{
			"a rate limit", 429, http.Header{"Retry-After-Ms": {"6300"}},
			`{"error":{"message":"Rate limit reached for gpt-4o on tokens per min","type":"tokens","code":"rate_limit_exceeded"}}`,
			holdoff.Verdict{Retry: true, Lesson: holdoff.Refused, Hint: 6300 * time.Millisecond, Reason: "too many requests"},
		},
		{"the word in a message", 429, nil, `{"error":{"message":"insufficient_quota","type":"requests"}}`, tooMany},
		{"JSON that is cut off", 429, nil, `{"error":{"type":"insufficient_quota"`, tooMany},
		{"no object", 429, nil, `"insufficient_quota"`, tooMany},
		{"another status", 404, nil, `{"error":{"type":"insufficient_quota"}}`, clientError},
	})
}

func TestGemini_Verdicts(t *testing.T) {
	t.Parallel()
	daily := permanent("quota of the day used up")
	const (
		perMinute = `{"quotaMetric":"m","quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier","quotaDimensions":{"model":"g"},"quotaValue":"5"}`
		perDay    = `{"quotaMetric":"m","quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier","quotaValue":"20"}`
		help      = `{"@type":"type.googleapis.com/google.rpc.Help","links":[{"description":"d","url":"u"}]}`
	)
	retry := func(delay string) string {
		return `{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"` + delay + `"}`
	}
	failure := func(violations ...string) string {
		return `{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[` + strings.Join(violations, ",") + `]}`
	}
	status := func(details ...string) string {
		return `{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED","details":[` + strings.Join(details, ",") + `]}}`
	}
	verdicts(t, vendors.Gemini(nil), "https://generativelanguage.example/v1beta/models/g:generateContent", []verdictTest{
		{"a quota per minute", 429, nil, status(failure(perMinute), help, retry("34s")), refusedFor(34*time.Second, "Gemini")},
		{"a delay with a fraction", 429, nil, status(help, retry("45.837906927s")), refusedFor(45837906927, "Gemini")},
		{"a stream's array", 429, nil, "[" + status(failure(perMinute), retry("7s")) + "]", refusedFor(7*time.Second, "Gemini")},
		{"the header wins", 429, http.Header{"Retry-After": {"9"}}, status(retry("34s")), refusedFor(9*time.Second, "Gemini")},
		{"a quota per day, with the delay of another", 429, nil, status(failure(perDay), retry("20.2s")), daily},
		{"a quota per day among others", 429, nil, status(retry("20.2s"), failure(perMinute, perDay)), daily},
		{
			"a quota per day, in ErrorInfo", 429, nil,
			status(`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_limit":"GenerateContentRequestsPerDayPerProject"}}`), daily,
		},
		{"no details", 429, nil, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}`, tooMany},
		{"a quota per minute without a delay", 429, nil, status(failure(perMinute)), tooMany},
		{"a delay that is none", 429, nil, status(retry("soon")), tooMany},
		{"a negative delay", 429, nil, status(retry("-3s")), tooMany},
		{"another status", 400, nil, status(retry("3s")), clientError},
	})
}

func TestDiscord_Verdicts(t *testing.T) {
	t.Parallel()
	verdicts(t, vendors.Discord(nil), "https://discord.example/api/v10/channels/1/messages", []verdictTest{
		{"in the body alone", 429, nil, `{"message":"You are being rate limited.","retry_after":64.57,"global":false}`, refusedFor(64570*time.Millisecond, "Discord")},
		{"a whole number", 429, nil, `{"retry_after":3,"global":true,"code":20028}`, refusedFor(3*time.Second, "Discord")},
		{"a number in quotes", 429, nil, `{"retry_after":"0.5"}`, refusedFor(500*time.Millisecond, "Discord")},
		{"the header wins", 429, http.Header{"Retry-After": {"65"}}, `{"retry_after":64.57}`, refusedFor(65*time.Second, "Discord")},
		{"a negative number", 429, nil, `{"retry_after":-1}`, tooMany},
		{"no number", 429, nil, `{"retry_after":null}`, tooMany},
		{"Cloudflare's page", 429, http.Header{"Content-Type": {"text/html"}}, `<html>error code: 1015</html>`, tooMany},
		{"another status", 404, nil, `{"retry_after":3}`, clientError},
	})
}

func TestShopify_Verdicts(t *testing.T) {
	t.Parallel()
	cost := func(requested, available, rate string) string {
		return `"extensions":{"cost":{"requestedQueryCost":` + requested + `,"actualQueryCost":null,"throttleStatus":{"maximumAvailable":1000.0,"currentlyAvailable":` + available + `,"restoreRate":` + rate + `}}}`
	}
	const throttled = `"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED","documentation":"https://shopify.dev/api/usage/rate-limits"}}]`
	verdicts(t, vendors.Shopify(nil), "https://shop.example/admin/api/2026-07/graphql.json", []verdictTest{
		{"throttled", 200, nil, `{` + throttled + `,` + cost("752", "202", "50.0") + `}`, refusedFor(11*time.Second, "Shopify")},
		{"with data that is null", 200, nil, `{"data":null,` + throttled + `,` + cost("101", "100.0", "100") + `}`, refusedFor(10*time.Millisecond, "Shopify")},
		{"of an older version, with the message alone", 200, nil, `{"errors":[{"message":"Throttled"}]}`, refusedFor(0, "Shopify")},
		{"a bucket that is never filled", 200, nil, `{` + throttled + `,` + cost("10", "0", "0") + `}`, refusedFor(0, "Shopify")},
		{"a bucket that is full again", 200, nil, `{` + throttled + `,` + cost("10", "50", "50") + `}`, refusedFor(0, "Shopify")},
		{"another error", 200, nil, `{"errors":[{"message":"Field 'x' doesn't exist","extensions":{"code":"undefinedField"}}]}`, good},
		{"a query above the maximum, which no wait helps", 200, nil, `{"errors":[{"message":"Query cost is 2003","extensions":{"code":"MAX_COST_EXCEEDED"}}]}`, good},
		{"a success", 200, nil, `{"data":{"shop":{"name":"n"}},` + cost("1", "1999", "100") + `}`, good},
		{"the word in the data", 200, nil, `{"data":{"product":{"title":"Throttled"}},"x":{"code":"THROTTLED"}}`, good},
		{"executed in part", 200, nil, `{` + throttled + `,"data":{"shop":{"name":"n"}}}`, good},
	})
	verdicts(t, vendors.Shopify(nil), "https://shop.example/admin/api/2026-07/products.json", []verdictTest{
		{"not GraphQL", 200, nil, `{` + throttled + `}`, good},
	})
}

func TestSalesforce_Verdicts(t *testing.T) {
	t.Parallel()
	verdicts(t, vendors.Salesforce(nil), "https://org.my.salesforce.example/services/data/v62.0/query", []verdictTest{
		{"the day's requests", 403, http.Header{"Sforce-Limit-Info": {"api-usage=15000/15000"}}, `[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`, permanent("quota of the day used up")},
		{"concurrent requests", 403, nil, `[{"message":"ConcurrentRequests (Concurrent API Requests) Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`, refusedFor(0, "Salesforce")},
		{"concurrent long requests", 403, nil, `[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"ConcurrentPerOrgLongTxn Limit exceeded"}]`, refusedFor(0, "Salesforce")},
		{"forbidden", 403, nil, `[{"message":"insufficient access","errorCode":"INSUFFICIENT_ACCESS"}]`, clientError},
		{"the code in a message", 403, nil, `[{"message":"REQUEST_LIMIT_EXCEEDED","errorCode":"X"}]`, clientError},
		{"another status", 404, nil, `[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`, clientError},
	})
}

func TestGitHub_Verdicts(t *testing.T) {
	t.Parallel()
	const (
		secondary = `{"message":"You have exceeded a secondary rate limit.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits","status":"403"}`
		forbidden = `{"message":"Must have admin rights","documentation_url":"https://docs.github.com/rest/repos#delete"}`
		limited   = `{"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded for installation ID 1."}]}`
	)
	// The server's clock is 100 s ahead, as its Date tells.
	clock := time.Now().Add(100 * time.Second).Truncate(time.Second)
	reset := func(in time.Duration, remaining string) http.Header {
		h := http.Header{
			"Date":              {clock.UTC().Format(http.TimeFormat)},
			"X-Ratelimit-Reset": {strconv.FormatInt(clock.Add(in).Unix(), 10)},
		}
		if remaining != "" {
			h["X-Ratelimit-Remaining"] = []string{remaining}
		}
		return h
	}
	verdicts(t, vendors.GitHub(nil), "https://api.github.example/repos/o/r", []verdictTest{
		{"a secondary limit in the body alone", 403, http.Header{"X-Ratelimit-Remaining": {"4990"}}, secondary, refusedFor(time.Minute, "GitHub")},
		{"the same as 429", 429, nil, secondary, refusedFor(time.Minute, "GitHub")},
		{"of an older server", 403, nil, `{"documentation_url":"https://developer.github.com/v3/#abuse-rate-limits"}`, refusedFor(time.Minute, "GitHub")},
		{"with a reset, as go-github waits", 403, reset(90*time.Second, "1"), secondary, refusedFor(90*time.Second, "GitHub")},
		{"with a reset and no word of what remains", 429, reset(3*time.Minute, ""), secondary, refusedFor(3*time.Minute, "GitHub")},
		{"with a reset that has passed", 403, reset(-time.Hour, "1"), secondary, refusedFor(time.Minute, "GitHub")},
		{"with a reset that is no number", 403, http.Header{"X-Ratelimit-Reset": {"soon"}}, secondary, refusedFor(time.Minute, "GitHub")},
		{"forbidden", 403, nil, forbidden, clientError},
		{"forbidden, with a limit in its words", 403, nil, `{"message":"see secondary-rate-limits for why"}`, clientError},
		{"not found", 404, nil, secondary, clientError},
		{"GraphQL's error on another path", 200, nil, limited, good},
	})
	verdicts(t, vendors.GitHub(nil), "https://github.example/api/graphql", []verdictTest{
		{"limited", 200, reset(40*time.Second, "0"), limited, refusedFor(40*time.Second, "GitHub")},
		{"limited, with the other type", 200, nil, `{"errors":[{"type":"RATE_LIMIT","code":"graphql_rate_limit","message":"API rate limit already exceeded"}]}`, refusedFor(time.Minute, "GitHub")},
		{"limited, with Retry-After", 200, http.Header{"Retry-After": {"7"}}, `{"data":null,"errors":[{"type":"RATE_LIMITED"}]}`, refusedFor(7*time.Second, "GitHub")},
		{"a secondary limit", 200, nil, secondary, refusedFor(time.Minute, "GitHub")},
		{"the last query that fits", 200, reset(40*time.Second, "0"), `{"data":{"viewer":{"login":"l"}}}`, good},
		{"another error", 200, nil, `{"data":{"repository":null},"errors":[{"type":"NOT_FOUND"}]}`, good},
		{"the documentation in the data", 200, nil, `{"data":{"documentation_url":"https://docs.github.com/rest/overview#about-secondary-rate-limits"}}`, good},
	})
}

// A limit in headers is the wrapped classifier's to see.
func TestGitHub_HeadersAreLeftToNext(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]http.Header{
		"Retry-After":       {"Retry-After": {"7"}},
		"the primary limit": {"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"30"}},
	} {
		req, resp, b := answered(t, http.MethodGet, "https://api.github.example/", 403, header, strings.NewReader("{}"))
		want := holdoff.DefaultClassify(req, resp, nil)
		if got := vendors.GitHub(nil)(req, resp, nil); got != want || !got.Retry || b.read != 0 {
			t.Errorf("%s: got %+v after %d bytes, want %+v after none", name, got, b.read, want)
		}
	}
}
