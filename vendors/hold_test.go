package vendors_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

// reply is what a server sends.
type reply struct {
	status int
	header http.Header
	body   string
}

// replies is a Base that sends its replies in turn, the last one again and again.
type replies struct {
	list  []reply
	sends int
}

func (r *replies) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	next := r.list[min(r.sends, len(r.list)-1)]
	r.sends++
	header := asJSON.Clone()
	maps.Copy(header, next.header)
	return &http.Response{
		StatusCode: next.status, Header: header, Request: req,
		ContentLength: -1, Body: &body{Reader: strings.NewReader(next.body)},
	}, nil
}

func post(t *testing.T, transport *holdoff.Transport, url string) (status int, out holdoff.Outcome, err error) {
	t.Helper()
	ctx := holdoff.WithOutcome(t.Context(), &out)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, out, err
	}
	resp.Body.Close()
	return resp.StatusCode, out, nil
}

// phase is that of the only key; Healthy where there is nothing to say of it.
func phase(transport *holdoff.Transport) holdoff.Phase {
	for key := range transport.Keys() {
		return key.Phase
	}
	return holdoff.Healthy
}

// A refusal that came as 200 is waited for, and holds the host.
func TestTransport_ThrottledGraphQLWaitsAndHolds(t *testing.T) {
	const throttled = `{"errors":[{"extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"requestedQueryCost":600,"throttleStatus":{"currentlyAvailable":100,"restoreRate":50}}}}`
	for _, test := range []struct {
		name     string
		classify vendors.Classifier
		refusal  reply
		wait     time.Duration
	}{
		{"Shopify", vendors.Shopify(nil), reply{status: 200, body: throttled}, 10 * time.Second},
		{
			"GitHub", vendors.GitHub(nil),
			reply{200, http.Header{"Retry-After": {"20"}}, `{"errors":[{"type":"RATE_LIMITED"}]}`}, 20 * time.Second,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &replies{list: []reply{test.refusal, {status: 200, body: `{"data":{}}`}}}
				transport := &holdoff.Transport{Base: base, Classify: test.classify}
				go func() {
					time.Sleep(test.wait / 2)
					if got := phase(transport); got != holdoff.Held {
						t.Errorf("got %v, want held", got)
					}
				}()
				status, out, err := post(t, transport, graphQL)
				if err != nil || status != 200 || out.Attempts != 2 || out.Waited < test.wait || out.Waited > 2*test.wait {
					t.Errorf("got %d, %+v, %v; want 200 after 2 attempts and at least %v", status, out, err, test.wait)
				}
			})
		})
	}
}

// A permanent refusal is final for the request that meets it, and leaves the host to
// other credentials: it neither holds a healthy host nor ends a hold.
func TestTransport_PermanentRefusalTeachesNothing(t *testing.T) {
	for _, test := range []struct {
		name    string
		refusal reply
	}{
		{"OpenAI", reply{status: 429, body: `{"error":{"type":"insufficient_quota"}}`}},
		{"OpenAI, with a hint", reply{429, http.Header{"Retry-After": {"30"}}, `{"error":{"code":"insufficient_quota"}}`}},
		{"Gemini", reply{status: 429, body: `{"error":{"details":[{"violations":[{"quotaId":"RequestsPerDay"}]},{"retryDelay":"20s"}]}}`}},
		{"Salesforce", reply{status: 403, body: `[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &replies{list: []reply{test.refusal}}
				transport := &holdoff.Transport{Base: base, Classify: everyone(nil)}
				for range 30 {
					status, out, err := post(t, transport, "https://api.example/")
					if err != nil || status != test.refusal.status || out.Attempts != 1 || out.Waited != 0 || out.Ended != holdoff.EndFinal {
						t.Fatalf("got %d, %+v, %v; want the refusal at once", status, out, err)
					}
				}
				if got := phase(transport); got != holdoff.Healthy {
					t.Errorf("got %v after refusals, want healthy", got)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				base := &replies{list: []reply{{status: 429, header: http.Header{"Retry-After": {"5"}}}, test.refusal}}
				transport := &holdoff.Transport{Base: base, Classify: everyone(nil), MaxAttempts: 1}
				post(t, transport, "https://api.example/")
				if got := phase(transport); got != holdoff.Held {
					t.Fatalf("got %v after Retry-After: 5, want held", got)
				}
				status, _, err := post(t, transport, "https://api.example/") // waits, and is the probe
				if got := phase(transport); got != holdoff.Probing || err != nil || status != test.refusal.status {
					t.Errorf("got %v, %d and %v after a probe that was refused for good, want probing", got, status, err)
				}
			})
		})
	}
}
