package vendors_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/vendors"
)

// One failure per protocol, and what looks like one.
func TestAWSThrottling(t *testing.T) {
	t.Parallel()
	throttled := holdoff.Verdict{Retry: true, Lesson: holdoff.Refused, Reason: "throttled by AWS"}
	final := holdoff.Verdict{Lesson: holdoff.Good, Reason: "client error"}
	for _, test := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   holdoff.Verdict
	}{
		{
			"awsJson 1.0, with a namespace", 400, nil,
			`{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level …"}`, throttled,
		},
		{"awsJson 1.1, bare and spaced", 400, nil, "{\n  \"message\": \"Rate exceeded\",\n  \"__type\" : \"ThrottlingException\"\n}", throttled},
		{"restJson, in the header", 429, http.Header{"X-Amzn-Errortype": {"TooManyRequestsException:http://internal.amazon.com/coral/"}}, `{}`, throttled},
		{"restXml", 503, nil, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce</Message></Error>`, throttled},
		{"query", 400, nil, `<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>`, throttled},
		{"ec2", 503, nil, `<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors></Response>`, throttled},
		{
			"with a hint", 400, http.Header{"X-Amz-Retry-After": {"1500"}}, `{"__type":"ThrottlingException"}`,
			holdoff.Verdict{Retry: true, Lesson: holdoff.Refused, Hint: 1500 * time.Millisecond, Reason: "throttled by AWS"},
		},
		{"another code", 400, nil, `{"__type":"ConditionalCheckFailedException"}`, final},
		{"the header says another", 400, http.Header{"X-Amzn-Errortype": {"ValidationException"}}, `{"__type":"ThrottlingException"}`, final},
		{"in a text of JSON", 400, nil, `{"message":"not a \"__type\":\"ThrottlingException\""}`, final},
		{"in a text of XML", 400, nil, `<Message>&lt;Code&gt;SlowDown&lt;/Code&gt;</Message>`, final},
		{"no body", 400, nil, ``, final},
		{"past what is looked at", 400, nil, strings.Repeat(" ", 4096) + `{"__type":"ThrottlingException"}`, final},
		{"a success", 200, nil, `{"__type":"ThrottlingException"}`, holdoff.Verdict{Lesson: holdoff.Good, Reason: "ok"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			base := &fixed{status: test.status, header: test.header, body: strings.NewReader(test.body)}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://a.example/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&vendors.AWS{Base: base}).RoundTrip(req)
			if got := vendors.ClassifyAWS(req, resp, err); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if body, err := io.ReadAll(resp.Body); string(body) != test.body || err != nil {
				t.Errorf("got body %q, %v; want %q", body, err, test.body)
			}
			if resp.StatusCode != test.status {
				t.Errorf("got status %d, want %d", resp.StatusCode, test.status)
			}
		})
	}
}

func TestClassifyAWSLeavesErrorsToTheDefault(t *testing.T) {
	t.Parallel()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, want := vendors.ClassifyAWS(req, nil, io.EOF), holdoff.DefaultClassify(req, nil, io.EOF)
	if got != want || !got.Retry {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
