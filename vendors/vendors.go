// Package vendors has classifiers for servers that say in the body of a response
// what [holdoff.DefaultClassify] reads in the status and the headers: that they
// refused the request, for how long, or for good.
//
//	transport := &holdoff.Transport{Classify: vendors.OpenAI(nil)}
//
// Each function wraps the classifier that judges every other outcome; nil stands
// for DefaultClassify. They compose: vendors.OpenAI(vendors.Gemini(nil)).
//
// A refusal for now is judged by the wrapped classifier as if the server had sent
// it as a 429 with Retry-After, also where it came as 200, 400 or 403. A permanent
// refusal (no credit, a quota per day) is not retried and teaches
// [holdoff.Nothing]: it applies to one credential or one model, and to wait for it
// is useless.
//
// Of a body, at most 16 KiB are read, and put back for the caller. Not looked at
// are streams (text/event-stream), compressed bodies (where the caller sets
// Accept-Encoding, net/http leaves them so), and successes, except JSON that
// answers a GraphQL request. Classification waits for what it reads until the
// request's context ends.
//
// Most servers need none of this: headers of GitHub, OpenAI, Anthropic, Stripe,
// Slack and others are understood without set-up.
package vendors

import (
	"cmp"
	"net/http"

	"github.com/go-holdoff/holdoff"
)

// A Classifier is what [holdoff.Transport] takes as its Classify.
type Classifier = func(req *http.Request, resp *http.Response, err error) holdoff.Verdict

// refusal is what a body says that the status and the headers do not.
type refusal struct {
	reason    string
	permanent bool
	// retryAfter is a value for Retry-After. If empty, the server named no delay.
	retryAfter string
}

// wrap returns a classifier that lets find judge the responses that it concerns,
// and next judge all others. find reports whether resp is a refusal.
func wrap(next Classifier, concerns func(*http.Request, *http.Response) bool, find func(*http.Response) (refusal, bool)) Classifier {
	next = orDefault(next)
	return func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
		if err != nil || !concerns(req, resp) {
			return next(req, resp, err)
		}
		r, found := find(resp)
		switch {
		case !found:
			return next(req, resp, nil)
		case r.permanent:
			return holdoff.Verdict{Reason: r.reason}
		}
		return r.judge(next, req, resp)
	}
}

func orDefault(next Classifier) Classifier {
	if next == nil {
		return holdoff.DefaultClassify
	}
	return next
}

// judge lets next judge resp as a 429. The server's own Retry-After wins. Without
// any delay it is 0, which says that the request was not processed and leaves the
// wait to the backoff.
func (r refusal) judge(next Classifier, req *http.Request, resp *http.Response) holdoff.Verdict {
	plain := *resp
	plain.StatusCode = http.StatusTooManyRequests
	if resp.Header.Get("Retry-After") == "" {
		plain.Header = resp.Header.Clone()
		if plain.Header == nil {
			plain.Header = http.Header{}
		}
		plain.Header.Set("Retry-After", cmp.Or(r.retryAfter, "0"))
	}
	v := next(req, &plain, nil)
	resp.Body = plain.Body // next may have read from it
	if v.Retry {
		v.Reason = r.reason
	}
	return v
}

// status returns a condition for wrap.
func status(code int) func(*http.Request, *http.Response) bool {
	return func(_ *http.Request, resp *http.Response) bool { return resp.StatusCode == code }
}
