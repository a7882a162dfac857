package vendors

import (
	"net/http"
	"strings"
)

// billing are the types and codes of refusals that only a payment or a higher limit
// ends. Since 2026 the code may name the limit, and the type says
// insufficient_quota.
var billing = map[string]bool{
	"insufficient_quota":                true,
	"billing_hard_limit_reached":        true,
	"billing_not_active":                true,
	"credit_balance_exhausted":          true,
	"organization_spend_limit_exceeded": true,
	"organization_usage_limit_exceeded": true,
	"project_spend_limit_exceeded":      true,
}

// OpenAI knows the 429s of OpenAI, and of servers with its API, that are permanent:
// no credit is left or a spending limit is reached ("insufficient quota"), and a
// request that alone is above the limit of tokens per minute ("request above the
// limit"). Rate limits are in headers, and need no set-up.
//
// Sources: help.openai.com, article 5955604; "Request too large":
// Aider-AI/aider#1880.
func OpenAI(next Classifier) Classifier {
	return wrap(next, status(http.StatusTooManyRequests), findOpenAI)
}

type openAIBody struct {
	Error struct{ Message, Type, Code string }
}

func findOpenAI(resp *http.Response) (refusal, bool) {
	for _, body := range objects[openAIBody](peek(resp, nil)) {
		switch e := body.Error; {
		case billing[e.Type] || billing[e.Code]:
			return refusal{reason: "insufficient quota", permanent: true}, true
		case strings.HasPrefix(e.Message, "Request too large "):
			return refusal{reason: "request above the limit", permanent: true}, true
		}
	}
	return refusal{}, false
}
