package vendors

import (
	"net/http"
	"regexp"
	"strings"
)

// errorType is the header in which AWS' REST protocols have the error code.
const errorType = "X-Amzn-Errortype"

// awsCode finds the code in a body of JSON or of XML. Inside of a string of
// JSON the quotes would be escaped, and inside of a text of XML the brackets.
var awsCode = regexp.MustCompile(`"__type"\s*:\s*"([^"\\]+)"|<Code>([^<]+)</Code>`)

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

// AWS knows the codes with which AWS services throttle, for now. Some protocols
// have the code in the header X-Amzn-ErrorType; DynamoDB, SQS and others in a JSON
// body; S3, EC2 and older ones in XML. The list is aws-sdk-go-v2's, aws/retry.
//
//	transport := &holdoff.Transport{
//		Classify:    vendors.AWS(nil),
//		MaxAttempts: 1, // the SDK signs, so the SDK retries
//	}
func AWS(next Classifier) Classifier {
	return wrap(next,
		func(_ *http.Request, resp *http.Response) bool { return resp.StatusCode >= 400 },
		func(resp *http.Response) (refusal, bool) {
			return refusal{reason: "throttled by AWS"}, throttles[awsName(awsError(resp))]
		})
}

func awsError(resp *http.Response) string {
	if code := resp.Header.Get(errorType); code != "" {
		return code
	}
	found := awsCode.FindSubmatch(peek(resp, nil))
	if found == nil {
		return ""
	}
	return strings.TrimSpace(string(found[1]) + string(found[2]))
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
