package retryapi

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redisrun"
)

//go:embed lua/park.lua
var parkLua string

//go:embed lua/claim.lua
var claimLua string

//go:embed lua/list.lua
var listLua string

var (
	parkScript  = redis.NewScript(parkLua)
	claimScript = redis.NewScript(claimLua)
	listScript  = redis.NewScript(listLua)
)

// RedisLotOptions are the settings of a [RedisLot]. The zero value is ready for
// use.
type RedisLotOptions struct {
	// Namespace and Prefix are as in holdoff.RedisOptions: "default" and
	// "holdoff" if empty.
	Namespace, Prefix string
	// Bounds are those of the lot, for all replicas together.
	Bounds Bounds
	// Withhold has parts of names, in any case: a header, or a parameter of the
	// URL's query, whose name has one of them in it stays in the process. So do
	// Authorization, Cookie and Proxy-Authorization, whatever the list says, and
	// an Idempotency-Key never does. Names are compared with "-" in place of "_",
	// and with a "-" before and after them, so that "-key-" is a whole word. If
	// nil, DefaultWithhold.
	Withhold []string
	// Timeout bounds each command, whatever the client's own timeouts are. If
	// zero, 500 ms.
	Timeout time.Duration
}

// RedisLot is a [Lot] in Redis: any replica can replay what another one parked.
// Headers and query parameters that may be credentials (RedisLotOptions.Withhold),
// headers whose value is a URL with such a parameter, and the user info of the
// URL do not leave the process: Handler.Prepare puts them back. All else of a
// request does: its path, its other parameters and headers, and its body. Do not
// park requests whose path or body is a secret, such as one for a token.
type RedisLot struct {
	client   redis.Scripter
	bounds   Bounds
	withhold withholder
	timeout  time.Duration
	base     string // of the names of our keys
}

const lotTimeout = 500 * time.Millisecond

// NewRedisLot returns a lot that keeps its requests through client.
func NewRedisLot(client redis.Scripter, opts RedisLotOptions) (*RedisLot, error) {
	if v := reflect.ValueOf(client); client == nil || (v.Kind() == reflect.Pointer && v.IsNil()) {
		return nil, errors.New("retryapi: NewRedisLot: the client is nil")
	}
	if opts.Timeout < 0 {
		return nil, fmt.Errorf("retryapi: RedisLotOptions.Timeout is %v; it must not be negative", opts.Timeout)
	}
	bounds, err := opts.Bounds.withDefaults()
	if err != nil {
		return nil, err
	}
	namespace, prefix := cmp.Or(opts.Namespace, "default"), cmp.Or(opts.Prefix, "holdoff")
	for _, f := range []struct{ name, value string }{{"Namespace", namespace}, {"Prefix", prefix}} {
		if err := redisrun.CheckName(f.value); err != nil {
			return nil, fmt.Errorf("retryapi: RedisLotOptions.%s %w", f.name, err)
		}
	}
	return &RedisLot{
		client: client, bounds: bounds, withhold: newWithholder(opts.Withhold), timeout: cmp.Or(opts.Timeout, lotTimeout),
		base: prefix + ":{" + namespace + "}:v1:parked:",
	}, nil
}

func (l *RedisLot) run(ctx context.Context, script *redis.Script, names []string, args ...any) ([]any, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = l.base + name
	}
	reply, err := redisrun.Run(ctx, l.timeout, l.client, script, func() {}, keys, args...)
	if err != nil {
		return nil, fmt.Errorf("retryapi: Redis: %w", err)
	}
	return reply, nil
}

var lotKeys = []string{"index", "heads", "bodies", "states", "summaries"}

// Park implements [holdoff.Lot].
func (l *RedisLot) Park(ctx context.Context, p holdoff.Parked) (string, error) {
	r, size, err := recordOf(p, l.bounds)
	if err != nil {
		return "", err
	}
	if !r.isText() {
		return "", errors.New("retryapi: not parked: a header is not UTF-8, and would be changed")
	}
	if err := l.withhold.withhold(r); err != nil {
		return "", fmt.Errorf("retryapi: not parked: %w", err)
	}
	head, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("retryapi: not parked: %w", err)
	}
	id := newID()
	s := summaryOf(id, p, r)
	summary, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("retryapi: not parked: %w", err)
	}
	reply, err := l.run(ctx, parkScript, lotKeys, id, head, r.body, summary, size, s.Attempt, s.Status, s.Error,
		l.bounds.Requests, l.bounds.Bytes, l.bounds.Age.Milliseconds())
	if err != nil {
		return "", err
	}
	if text(reply, 0) == "full" {
		return "", errFull
	}
	return id, nil
}

// claimed runs claim.lua, and reads what stands against it.
func (l *RedisLot) claimed(ctx context.Context, what, id string, attempt int, token string, args ...any) ([]any, error) {
	all := append([]any{what, id, attempt, token, l.bounds.Age.Milliseconds()}, args...)
	reply, err := l.run(ctx, claimScript, lotKeys, all...)
	if err != nil {
		return nil, err
	}
	switch text(reply, 0) {
	case "ok":
		return reply, nil
	case "unknown":
		return nil, ErrUnknown
	case "conflict":
		next, _ := strconv.Atoi(text(reply, 1))
		return nil, &ConflictError{Next: next, InFlight: text(reply, 2) == "1"}
	}
	return nil, errors.New("retryapi: Redis sent a reply of an unknown form")
}

// Claim implements [Lot].
func (l *RedisLot) Claim(ctx context.Context, id string, attempt int, lease time.Duration) (*Claim, error) {
	token := newID()
	reply, err := l.claimed(ctx, "claim", id, attempt, token, max(lease.Milliseconds(), 1))
	if err != nil {
		if _, refused := errors.AsType[*ConflictError](err); !refused && !errors.Is(err, ErrUnknown) {
			// It may have been made, or be made yet, with an answer that came too
			// late: no caller would give it back before the lease ends.
			go l.Settle(context.WithoutCancel(ctx), &Claim{ID: id, Attempt: attempt, token: token}, Result{})
		}
		return nil, err
	}
	var r record
	if err := json.Unmarshal([]byte(text(reply, 1)), &r); err != nil {
		return nil, fmt.Errorf("retryapi: the parked request is damaged: %w", err)
	}
	if body := text(reply, 2); body != "" || r.Stream {
		r.body = []byte(body)
	}
	if len(r.body) != r.Size {
		return nil, errors.New("retryapi: the parked request is damaged: its body has changed")
	}
	return r.claim(id, attempt, token)
}

// Begin implements [Lot].
func (l *RedisLot) Begin(ctx context.Context, c *Claim, lease time.Duration) error {
	_, err := l.claimed(ctx, "begin", c.ID, c.Attempt, c.token, max(lease.Milliseconds(), 1))
	return err
}

// Settle implements [Lot].
func (l *RedisLot) Settle(ctx context.Context, c *Claim, r Result) error {
	_, err := l.claimed(ctx, "settle", c.ID, c.Attempt, c.token, flag(r.Sent), flag(r.Good), r.Status, cut(r.Err))
	return err
}

// List implements [Lot].
func (l *RedisLot) List(ctx context.Context, limit int) ([]Summary, int, error) {
	reply, err := l.run(ctx, listScript, []string{"index", "summaries", "states"}, limit, l.bounds.Age.Milliseconds())
	if err != nil {
		return nil, 0, err
	}
	total, _ := strconv.Atoi(text(reply, 0))
	now := time.Now()
	list := make([]Summary, 0, len(reply))
	for _, item := range reply[min(1, len(reply)):] {
		fields, _ := item.([]any)
		var s Summary
		if json.Unmarshal([]byte(text(fields, 1)), &s) != nil {
			continue
		}
		age, _ := strconv.ParseInt(text(fields, 0), 10, 64)
		s.Parked = now.Add(-time.Duration(age) * time.Millisecond)
		s.Attempt, _ = strconv.Atoi(text(fields, 2))
		s.Status, _ = strconv.Atoi(text(fields, 3))
		s.Error, s.InFlight = text(fields, 4), text(fields, 5) == "1"
		list = append(list, s)
	}
	return list, total, nil
}

// text returns the i-th field of a reply, if it is text.
func text(reply []any, i int) string {
	if i >= len(reply) {
		return ""
	}
	s, _ := reply[i].(string)
	return s
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
