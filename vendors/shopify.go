package vendors

import (
	"net/http"
	"strconv"
)

// Shopify knows the 200s with which Shopify's GraphQL API refuses a query: the error
// THROTTLED. The wait is until the bucket of the app and shop holds the query's
// cost again: (requestedQueryCost - currentlyAvailable) / restoreRate. Limits of the
// REST API are in headers, and need no set-up.
//
// Source: shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits.
func Shopify(next Classifier) Classifier {
	return wrap(next, isGraphQL, findShopify)
}

type shopifyBody struct {
	Data       map[string]any
	Errors     []graphQLError
	Extensions struct {
		Cost struct {
			RequestedQueryCost float64
			ThrottleStatus     struct{ CurrentlyAvailable, RestoreRate float64 }
		}
	}
}

func findShopify(resp *http.Response) (refusal, bool) {
	for _, body := range objects[shopifyBody](peek(resp, hasData)) {
		for _, e := range body.Errors {
			if body.Data == nil && (e.Extensions.Code == "THROTTLED" || e.Message == "Throttled") {
				return refusal{reason: "throttled by Shopify", retryAfter: body.wait()}, true
			}
		}
	}
	return refusal{}, false
}

func (b shopifyBody) wait() string {
	cost := b.Extensions.Cost
	bucket := cost.ThrottleStatus
	missing := cost.RequestedQueryCost - bucket.CurrentlyAvailable
	if missing <= 0 || bucket.RestoreRate <= 0 {
		return ""
	}
	return strconv.FormatFloat(missing/bucket.RestoreRate, 'f', -1, 64)
}
