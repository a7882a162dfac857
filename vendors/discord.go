package vendors

import (
	"encoding/json"
	"net/http"
)

// Discord knows the 429s of Discord whose delay is in the body alone: retry_after,
// in seconds as of version 8 of the API (in milliseconds before).
//
// Source: docs.discord.com/developers/topics/rate-limits, "Exceeding a rate limit".
func Discord(next Classifier) Classifier {
	return wrap(next, status(http.StatusTooManyRequests), findDiscord)
}

type discordBody struct {
	RetryAfter json.Number `json:"retry_after"`
}

func findDiscord(resp *http.Response) (refusal, bool) {
	for _, body := range objects[discordBody](peek(resp, nil)) {
		if body.RetryAfter != "" {
			return refusal{reason: "throttled by Discord", retryAfter: body.RetryAfter.String()}, true
		}
	}
	return refusal{}, false
}
