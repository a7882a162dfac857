package vendors

import (
	"net/http"
	"strings"
)

// Gemini knows the 429s of Gemini and of other Google APIs that answer with
// google.rpc.Status. Where a violated quota is per day, the refusal is permanent
// ("quota of the day used up"), whatever delay it names: that one is of a quota per
// minute. Otherwise the wait is RetryInfo.retryDelay.
//
// Sources: google/rpc/error_details.proto; ai.google.dev, "Rate limits"; bodies:
// google-gemini/gemini-cli#8437, continuedev/continue#11681.
func Gemini(next Classifier) Classifier {
	return wrap(next, status(http.StatusTooManyRequests), findGemini)
}

type geminiBody struct {
	Error struct {
		Details []struct {
			RetryDelay string                     // of RetryInfo: seconds, as "45.8s"
			Violations []struct{ QuotaID string } // of QuotaFailure
			Metadata   struct {                   // of ErrorInfo
				QuotaLimit string `json:"quota_limit"`
			}
		}
	}
}

func findGemini(resp *http.Response) (r refusal, found bool) {
	for _, body := range objects[geminiBody](peek(resp, nil)) {
		for _, d := range body.Error.Details {
			daily := isDaily(d.Metadata.QuotaLimit)
			for _, v := range d.Violations {
				daily = daily || isDaily(v.QuotaID)
			}
			if daily {
				return refusal{reason: "quota of the day used up", permanent: true}, true
			}
			if seconds, ok := strings.CutSuffix(d.RetryDelay, "s"); ok {
				r, found = refusal{reason: "throttled by Gemini", retryAfter: seconds}, true
			}
		}
	}
	return r, found
}

func isDaily(quota string) bool { return strings.Contains(quota, "PerDay") }
