package vendors

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/go-holdoff/holdoff"
)

// AWS is a Base that finds the error code of failures of AWS services, and puts
// it where [ClassifyAWS] looks for it (and the SDK too): in the header
// X-Amzn-ErrorType. Some protocols have it there; DynamoDB, SQS and others tell
// it in a JSON body, S3, EC2 and the older ones in XML.
//
//	transport := &holdoff.Transport{
//		Base:        &vendors.AWS{},
//		Classify:    vendors.ClassifyAWS,
//		MaxAttempts: 1, // the SDK signs, so the SDK retries
//	}
type AWS struct {
	// Base sends the requests. If nil, what a [holdoff.Transport] without one
	// sends through.
	Base http.RoundTripper
}

// errorType is the header in which AWS' REST protocols tell the error code.
const errorType = "X-Amzn-Errortype"

// awsCode finds the code in a body of JSON or of XML. Inside of a string of
// JSON the quotes would be escaped, and inside of a text of XML the brackets.
var awsCode = regexp.MustCompile(`"__type"\s*:\s*"([^"\\]+)"|<Code>([^<]+)</Code>`)

// RoundTrip sends req through Base.
func (a *AWS) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := orShared(a.Base).RoundTrip(req)
	if err != nil || resp.StatusCode < 400 || resp.Header.Get(errorType) != "" {
		return resp, err
	}
	if found := awsCode.FindSubmatch(peek(resp)); found != nil {
		code := strings.TrimSpace(string(found[1]) + string(found[2]))
		resp.Header.Set(errorType, code)
	}
	return resp, nil
}

// WrappedRoundTripper returns Base, or what stands in for it.
func (a *AWS) WrappedRoundTripper() http.RoundTripper { return orShared(a.Base) }

// CloseIdleConnections closes those of Base.
func (a *AWS) CloseIdleConnections() { closeIdle(orShared(a.Base)) }

// throttles are the codes with which AWS services refuse a request that they
// may take later, whatever the status: 400 as often as 429 or 503.
var throttles = map[string]bool{
	"BandwidthLimitExceeded":                 true,
	"EC2ThrottledException":                  true,
	"LimitExceededException":                 true,
	"PriorRequestNotComplete":                true,
	"ProvisionedThroughputExceededException": true,
	"RequestLimitExceeded":                   true,
	"RequestThrottled":                       true,
	"RequestThrottledException":              true,
	"SlowDown":                               true,
	"Throttling":                             true,
	"ThrottlingException":                    true,
	"ThrottledException":                     true,
	"TooManyRequestsException":               true,
	"TransactionInProgressException":         true,
}

// ClassifyAWS is [holdoff.DefaultClassify] that knows the codes with which AWS
// throttles: a refusal, which may be sent again whatever its method. See [AWS]
// for where it finds them.
func ClassifyAWS(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
	if err != nil || !throttles[awsName(resp.Header.Get(errorType))] {
		return holdoff.DefaultClassify(req, resp, err)
	}
	// Judged as what other servers would have sent.
	refusal := *resp
	refusal.StatusCode = http.StatusTooManyRequests
	v := holdoff.DefaultClassify(req, &refusal, nil)
	v.Retry, v.Reason = true, "throttled by AWS"
	return v
}

// awsName takes what surrounds the name of a code off it: a namespace before,
// as in com.amazonaws.dynamodb.v20120810#ThrottlingException, and an address
// after it, as in ThrottlingException:http://internal.amazon.com/.
func awsName(code string) string {
	code, _, _ = strings.Cut(code, ":")
	if _, name, found := strings.Cut(code, "#"); found {
		return name
	}
	return code
}
