package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/redisstore"
)

// What the doctor tries as the user that it has connected as. Only trying tells: to look
// at a user's rights needs the rights of an administrator.

// A right is a command that a user needs, and a harmless call of it. H, Z and S stand
// for names of the namespace that nothing else uses, C for its channel.
type right struct {
	call string
	what string // it is for
}

const (
	forHolds    = "holds"
	forParked   = "parked requests"
	forLog      = "the log of changes"
	forOperator = "this command"
)

// rights are all that docs/OPERATIONS.md gives to the service's user, and to the operator's.
var rights = []right{
	{"PING", forOperator},
	{"HELLO", forHolds},
	{"TIME", forHolds},
	{"EVAL return(1) 0", forHolds},
	{"EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", forHolds},
	{"HSET H f 1", forHolds},
	{"HMGET H f", forHolds},
	{"HINCRBY H n 1", forHolds},
	{"PEXPIRE H 60000", forHolds},
	{"PTTL H", forOperator},
	{"ZADD Z 1 m", forHolds},
	{"PEXPIRE Z 60000", forHolds},
	{"ZREM Z x", forHolds},
	{"ZCOUNT Z 0 0", forHolds},
	{"ZRANGEBYSCORE Z 0 0", forHolds},
	{"ZREMRANGEBYSCORE Z 0 0", forHolds},
	{"PUBLISH C doctor", forHolds},
	{"HGET H f", forParked},
	{"HEXISTS H f", forParked},
	{"HDEL H g", forParked},
	{"ZCARD Z", forParked},
	{"ZRANGE Z 0 0", forParked},
	{"ZREVRANGEBYSCORE Z 0 0", forParked},
	{"ZSCORE Z m", forParked},
	{"XADD S MAXLEN ~ 10 * f 1", forLog},
	{"PEXPIRE S 60000", forHolds},
	{"XREVRANGE S + - COUNT 1", forLog},
	{"PUBSUB|CHANNELS no-such-channel", forOperator},
	{"PUBSUB|NUMSUB C", forOperator},
	{"INFO memory", forOperator},
	{"DEL H Z S", forHolds}, // the last one: it takes away what the others made
}

// command is the name of a right's command, as ACL SETUSER has it.
func (r right) command() string {
	name, _, _ := strings.Cut(r.call, " ")
	return strings.ToLower(name)
}

// checkRights tries each command.
func (d *doctor) checkRights(ctx context.Context) {
	denied := make(map[string][]string) // by what they are for
	var keys, channel, other error
	for _, r := range rights {
		var args []any
		for word := range strings.FieldsSeq(strings.Replace(r.call, "|", " ", 1)) {
			switch word {
			case "H":
				word = d.name("doctor:hash")
			case "Z":
				word = d.name("doctor:set")
			case "S":
				word = d.name("doctor:stream")
			case "C":
				word = d.name("changes")
			}
			args = append(args, word)
		}
		if r.command() == "publish" {
			args[1] = d.name("doctor:channel") // no replica listens there
		}
		err := d.node.Do(ctx, args...).Err()
		switch {
		case err == nil, errors.Is(err, redis.Nil), strings.HasPrefix(err.Error(), "NOSCRIPT"):
		case isDenied(err) && strings.Contains(err.Error(), "permissions to run"):
			denied[r.what] = append(denied[r.what], "+"+r.command())
		case isDenied(err) && strings.Contains(err.Error(), "channel"):
			channel = err
		case isDenied(err):
			keys = err
		default:
			other = fmt.Errorf("%s: %w", strings.ToUpper(r.command()), err)
		}
	}
	if err := d.subscribes(ctx); isDenied(err) {
		if strings.Contains(err.Error(), "permissions to run") {
			denied[forHolds] = append(denied[forHolds], "+subscribe")
		} else {
			channel = err
		}
	}
	fix := func(rules string) string { return "ACL SETUSER " + d.me() + " " + rules }
	switch {
	case keys != nil:
		d.noKeys = true
		d.note("rights", failure, fmt.Sprintf("this user may not use the keys: %v", keys), fix("'~"+d.prefix+":*'"))
	case other != nil:
		d.note("rights", failure, other.Error(), "")
	}
	if channel != nil {
		d.note("rights", warning, fmt.Sprintf("this user may not use the channel: %v", channel), fix("'&"+d.prefix+":*'")+", or replicas learn of a hold at their next poll")
	}
	for _, use := range []struct{ what, status string }{{forHolds, failure}, {forParked, warning}, {forLog, warning}, {forOperator, warning}} {
		if missing := denied[use.what]; len(missing) > 0 {
			d.note("rights", use.status, fmt.Sprintf("for %s this user lacks %s", use.what, strings.Join(missing, " ")), fix(strings.Join(missing, " ")))
		}
	}
	for _, f := range d.findings {
		if f.Check == "rights" {
			return
		}
	}
	d.note("rights", sound, fmt.Sprintf("this user may do all of %d commands, with the keys and the channel", len(rights)), "")
}

// me is the name of the user, as far as it is known.
func (d *doctor) me() string {
	if o, ok := d.node.(*redis.Client); ok && o.Options().Username != "" {
		return o.Options().Username
	}
	return "default"
}

// subscribes returns why a subscription is refused.
func (d *doctor) subscribes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	sub := d.node.Subscribe(ctx, d.name("doctor:channel"))
	defer sub.Close()
	_, err := sub.Receive(ctx)
	return err
}

// rehearsal is the prefix of the names that a rehearsal uses: of the same slot of a
// Cluster, and of the same right to keys.
func (d *doctor) rehearsal() string { return d.prefix + ":doctor" }

// rehearse makes two replicas: one is refused by a server, and the other must learn of it
// through Redis.
func (d *doctor) rehearse(ctx context.Context) {
	if d.noKeys {
		return
	}
	options := redisstore.Options{Namespace: d.namespace, Prefix: d.rehearsal(), Timeout: d.timeout}
	const key = "doctor://rehearsal"
	defer func() { // after both are closed
		for _, name := range redisstore.Names(options, key) {
			d.client.Del(context.WithoutCancel(ctx), name)
		}
	}()
	var stores []*redisstore.Store
	for range 2 {
		store, err := redisstore.New(d.client, options)
		if err != nil {
			d.note("rehearsal", failure, err.Error(), "")
			return
		}
		defer store.Close()
		stores = append(stores, store)
	}
	heard := make(chan time.Time, 1)
	var once sync.Once
	defer stores[1].Watch(key, func(_ string, state hold.Snapshot) {
		if state.Phase == hold.Held {
			once.Do(func() { heard <- time.Now() })
		}
	})()
	time.Sleep(200 * time.Millisecond) // for the subscription
	begin := time.Now()
	report := hold.Report{Replica: "doctor", Call: 1, Refused: 1, Status: 429, Hint: 2 * time.Second, ServerDirected: true}
	if _, err := stores[0].Report(ctx, key, report); err != nil {
		d.note("rehearsal", failure, fmt.Sprintf("a replica could not report a hold: %v", err), "")
		return
	}
	reported := time.Since(begin)
	select {
	case at := <-heard:
		took := at.Sub(begin)
		words := fmt.Sprintf("one replica reported a hold in %.1f ms, and another obeyed it after %.1f ms", ms(reported), ms(took))
		if took > 500*time.Millisecond {
			d.note("rehearsal", warning, words, "it was found by a poll: pub/sub brings nothing")
			return
		}
		d.note("rehearsal", sound, words, "")
	case <-time.After(d.timeout + 2*time.Second):
		d.note("rehearsal", failure, "one replica reported a hold, and another did not learn of it", "")
	case <-ctx.Done():
	}
}
