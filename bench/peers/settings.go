package peers

import (
	"io"
	"net/http"
	"time"

	"github.com/PuerkitoBio/rehttp"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/adaptivethrottler"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/go-holdoff/holdoff"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/hashicorp/go-retryablehttp"
	oras "oras.land/oras-go/v2/registry/remote/retry"
)

// Where a peer has no delays of its own, these: as holdoff waits for a slow host.
const (
	firstDelay   = 250 * time.Millisecond
	longestDelay = 10 * time.Second
)

// holdoffPeer is the zero value. Eager has no budget: with a retry for each
// request, a budget would end the measurement, as it is there to do. It can't
// resend a body without GetBody that is longer than 64 KiB, as it does not buffer.
var holdoffPeer = Peer{
	Name:    "holdoff",
	Version: Version("github.com/go-holdoff/holdoff"),
	New: func(base http.RoundTripper) http.RoundTripper {
		return &holdoff.Transport{Base: base}
	},
	Eager: func(base http.RoundTripper) http.RoundTripper {
		return Eager(&holdoff.Transport{Base: base})
	},
	Can: Can{Retry: true, Replay: true, Hint: On429And503, Cancel: true, Jitter: true},
}

// Eager makes a Transport retry at once, as often as it is made to.
func Eager(t *holdoff.Transport) *holdoff.Transport {
	t.Budget = -1
	t.Backoff = holdoff.Exponential{Base: 1, Cap: 1, Jitter: holdoff.NoJitter}
	return t
}

// retryablehttpPeer is a RoundTripper around a retrying client around an
// http.Client, which would follow redirects by itself if it were let to. It has
// the settings that the documentation of LinearJitterBackoff gives for "a small
// amount of jitter"; the default has none. It reads every body into memory,
// GetBody or not, and retries POST.
var retryablehttpPeer = Peer{
	Name:    "hashicorp/go-retryablehttp",
	Version: Version("github.com/hashicorp/go-retryablehttp"),
	New: func(base http.RoundTripper) http.RoundTripper {
		return retryable(base, 800*time.Millisecond, 1200*time.Millisecond)
	},
	Eager: func(base http.RoundTripper) http.RoundTripper { return retryable(base, 0, 0) },
	Can:   Can{Retry: true, Replay: true, Buffer: true, Hint: On429And503, Cancel: true, Jitter: true},
}

func retryable(base http.RoundTripper, shortest, longest time.Duration) http.RoundTripper {
	client := retryablehttp.NewClient()
	client.HTTPClient = &http.Client{
		Transport:     base,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	client.Logger = nil
	client.RetryMax = attempts - 1
	client.RetryWaitMin, client.RetryWaitMax = shortest, longest
	client.Backoff = retryablehttp.RateLimitLinearJitterBackoff
	client.ErrorHandler = retryablehttp.PassthroughErrorHandler // else the last response is lost
	return &retryablehttp.RoundTripper{Client: client}
}

// rehttpPeer has no notion of Retry-After; a user can write a DelayFn that has. It
// reads every body into memory, GetBody or not, and shares one reader among
// attempts.
var rehttpPeer = Peer{
	Name:    "PuerkitoBio/rehttp",
	Version: Version("github.com/PuerkitoBio/rehttp"),
	New: func(base http.RoundTripper) http.RoundTripper {
		return rehttp.NewTransport(base, rehttpRetries, rehttp.ExpJitterDelay(firstDelay, longestDelay))
	},
	Eager: func(base http.RoundTripper) http.RoundTripper {
		return rehttp.NewTransport(base, rehttpRetries, rehttp.ConstDelay(0))
	},
	Can: Can{Retry: true, Replay: true, Buffer: true, Cancel: true, Jitter: true},
}

var rehttpRetries = rehttp.RetryAll(
	rehttp.RetryMaxRetries(attempts-1),
	rehttp.RetryAny(
		rehttp.RetryStatuses(http.StatusTooManyRequests),
		rehttp.RetryStatusInterval(500, 600),
		rehttp.RetryTemporaryErr(),
	),
)

// failsafePeer has the package's policy for HTTP. Its jitter applies to
// Retry-After as well, and may shorten it; Retry-After can't be a date. It reads
// every body into memory, GetBody or not, and retries POST.
var failsafePeer = Peer{
	Name:    "failsafe-go/failsafehttp",
	Version: Version("github.com/failsafe-go/failsafe-go"),
	New: func(base http.RoundTripper) http.RoundTripper {
		policy := failsafePolicy().WithBackoff(firstDelay, longestDelay).WithJitterFactor(0.25)
		return failsafehttp.NewRoundTripper(base, policy.Build())
	},
	Eager: func(base http.RoundTripper) http.RoundTripper {
		return failsafehttp.NewRoundTripper(base, failsafePolicy().Build())
	},
	Can: Can{Retry: true, Replay: true, Buffer: true, Hint: On429And503, Cancel: true, Jitter: true},
}

// failsafeLimiterPeer has failsafePeer's policy around an adaptive limiter of requests in
// flight, with the package's defaults. It queues, as the package recommends where a
// rejection is too strict, by the factors that the package itself takes where it queues.
var failsafeLimiterPeer = Peer{
	Name:    "failsafehttp, adaptive limiter",
	Version: failsafePeer.Version,
	New: func(base http.RoundTripper) http.RoundTripper {
		limiter := adaptivelimiter.NewBuilder[*http.Response]().WithQueueing(2, 3).Build()
		return failsafePeer.New(failsafehttp.NewRoundTripper(base, limiter))
	},
}

// failsafeThrottlerPeer has failsafePeer's policy around an adaptive throttler with the
// settings of its documentation's example: it rejects from a tenth of failures per minute
// on, after 5 executions, and 9 of 10 at most. It counts what the policy retries.
var failsafeThrottlerPeer = Peer{
	Name:    "failsafehttp, adaptive throttler",
	Version: failsafePeer.Version,
	New: func(base http.RoundTripper) http.RoundTripper {
		throttler := adaptivethrottler.NewBuilder[*http.Response]().
			HandleIf(func(resp *http.Response, err error) bool {
				return err != nil || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
			}).
			WithFailureRateThreshold(0.1, 5, time.Minute).
			WithMaxRejectionRate(0.9).
			Build()
		return failsafePeer.New(failsafehttp.NewRoundTripper(base, throttler))
	},
}

// failsafePolicy closes the responses that are not returned. The policy by itself
// leaves them open: each retry would cost a connection, which a user who cares
// about costs will have noticed.
func failsafePolicy() retrypolicy.Builder[*http.Response] {
	return failsafehttp.NewRetryPolicyBuilder().
		WithMaxRetries(attempts - 1).
		ReturnLastFailure().
		OnRetryScheduled(func(e failsafe.ExecutionScheduledEvent[*http.Response]) {
			if resp := e.LastResult(); resp != nil {
				io.CopyN(io.Discard, resp.Body, 4<<10)
				resp.Body.Close()
			}
		})
}

// orasPeer has the package's defaults, but for the longest wait: of 3 s, to which
// it would cut a Retry-After. It obeys that of a 429 only, not as a date. It closes
// the responses that it discards without reading them, which costs their
// connection, and can't resend a body without GetBody.
var orasPeer = Peer{
	Name:    "oras-go/retry",
	Version: Version("oras.land/oras-go/v2"),
	New: func(base http.RoundTripper) http.RoundTripper {
		return orasTransport(base, &oras.GenericPolicy{
			Retryable: oras.DefaultPredicate, Backoff: oras.DefaultBackoff,
			MinWait: 200 * time.Millisecond, MaxWait: time.Minute, MaxRetry: attempts - 1,
		})
	},
	Eager: func(base http.RoundTripper) http.RoundTripper {
		return orasTransport(base, &oras.GenericPolicy{
			Retryable: oras.DefaultPredicate, Backoff: func(int, *http.Response) time.Duration { return 0 },
			MaxRetry: attempts - 1,
		})
	},
	Can: Can{Retry: true, Replay: true, Hint: On429, Cancel: true, Jitter: true},
}

func orasTransport(base http.RoundTripper, policy oras.Policy) http.RoundTripper {
	return &oras.Transport{Base: base, Policy: func() oras.Policy { return policy }}
}

// containerregistryPeer has the backoff and the statuses that the module's package
// remote uses, and one attempt more. It has no notion of Retry-After, sleeps on
// when the request's context has ended, and resends a body as it is: read to its
// end.
var containerregistryPeer = Peer{
	Name:    "google/go-containerregistry",
	Version: Version("github.com/google/go-containerregistry"),
	New: func(base http.RoundTripper) http.RoundTripper {
		return containerregistry(base, transport.Backoff{Duration: time.Second, Factor: 3, Jitter: 0.1, Steps: attempts})
	},
	Eager: func(base http.RoundTripper) http.RoundTripper {
		return containerregistry(base, transport.Backoff{Steps: attempts})
	},
	Can: Can{Retry: true, Jitter: true},
}

func containerregistry(base http.RoundTripper, backoff transport.Backoff) http.RoundTripper {
	return transport.NewRetry(base, transport.WithRetryBackoff(backoff),
		transport.WithRetryStatusCodes(408, 429, 499, 500, 502, 503, 504, 522))
}
