package vendors

import (
	"net/http"
	"strings"
)

// Salesforce knows the 403s with the code REQUEST_LIMIT_EXCEEDED. Where the total of
// requests in 24 hours is used up, the refusal is permanent ("quota of the day used
// up"): the window rolls, and has no reset. Otherwise it is a limit of concurrent
// requests, for now.
//
// Sources: Salesforce, "API Request Limits and Allocations"; TotalRequests:
// SalesforceLabs/OrgCheck#181; ConcurrentRequests: SalesforceLabs/OrgCheck#432.
func Salesforce(next Classifier) Classifier {
	return wrap(next, status(http.StatusForbidden), findSalesforce)
}

type salesforceError struct{ Message, ErrorCode string }

func findSalesforce(resp *http.Response) (refusal, bool) {
	for _, e := range objects[salesforceError](peek(resp, nil)) {
		if e.ErrorCode != "REQUEST_LIMIT_EXCEEDED" {
			continue
		}
		if strings.HasPrefix(e.Message, "TotalRequests ") {
			return refusal{reason: "quota of the day used up", permanent: true}, true
		}
		return refusal{reason: "throttled by Salesforce"}, true
	}
	return refusal{}, false
}
