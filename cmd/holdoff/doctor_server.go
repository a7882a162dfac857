package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff/internal/redisstore"
)

// What the doctor asks of the server itself.

// oldest is the first version of Redis that has all that the scripts use.
var oldest = []int{6, 2}

// name is a name of the namespace's data in Redis.
func (d *doctor) name(part string) string {
	return redisstore.NameOf(d.prefix, d.namespace, redisstore.WireVersion, part)
}

// hello returns what the server says of itself: HELLO is part of what each user needs.
func (d *doctor) hello(ctx context.Context) map[string]string {
	said := make(map[string]string)
	reply, err := d.node.Do(ctx, "HELLO").Result()
	if err != nil {
		return said
	}
	switch reply := reply.(type) {
	case map[any]any:
		for k, v := range reply {
			said[fmt.Sprint(k)] = fmt.Sprint(v)
		}
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			said[fmt.Sprint(reply[i])] = fmt.Sprint(reply[i+1])
		}
	}
	return said
}

func (d *doctor) checkServer(said map[string]string) {
	version := said["version"]
	if version == "" {
		d.note("version", warning, "the server does not say which version it is: this user may not HELLO", "give it +hello")
		return
	}
	words := fmt.Sprintf("%s %s, %s", said["server"], version, said["mode"])
	if slices.Compare(numbers(version), oldest) < 0 {
		d.note("version", failure, words, "use Redis 6.2 or later, or Valkey")
	} else {
		d.note("version", sound, words, "")
	}
	if role := said["role"]; role != "" && role != "master" && role != "primary" {
		d.note("role", failure, "the server is a "+role+": it takes no writes", "connect to the primary, by its Sentinel or its Cluster")
	}
}

// numbers are those of a version.
func numbers(version string) (list []int) {
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		list = append(list, n)
	}
	return list
}

// checkMemory looks whether Redis evicts, and whether it is nearly full.
func (d *doctor) checkMemory(ctx context.Context) {
	text, err := d.node.Info(ctx, "memory").Result()
	if err != nil {
		d.note("memory", warning, fmt.Sprintf("what Redis does when it is full is not known: %v", err), "give the operator's user +info")
		return
	}
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	policy := info["maxmemory_policy"]
	used, _ := strconv.ParseFloat(info["used_memory"], 64)
	most, _ := strconv.ParseFloat(info["maxmemory"], 64)
	words := "no bound (maxmemory 0), " + policy
	if most > 0 {
		words = fmt.Sprintf("%.0f %% of %.0f MiB are used, %s", 100*used/most, most/(1<<20), policy)
	}
	switch {
	case most > 0 && policy == "noeviction" && used > 0.95*most:
		d.note("memory", failure, words, "Redis will refuse writes, and each replica then holds alone: make room")
	case policy != "noeviction" && policy != "":
		d.note("memory", warning, words, "holds bear eviction, and are reported again; parked requests (retryapi.RedisLot) do not: give those a Redis with noeviction")
	default:
		d.note("memory", sound, words, "")
	}
}

// versions are the wire versions that there have been, and the next ones.
var versions = []string{"1", "2", "3", "4", "5"}

// checkVersions looks for data of processes of other versions, which share nothing with
// those of this one.
func (d *doctor) checkVersions(ctx context.Context) {
	var others []string
	for _, version := range versions {
		if version == redisstore.WireVersion {
			continue
		}
		meta, err := d.client.HMGet(ctx, redisstore.NameOf(d.prefix, d.namespace, version, "meta"), "seq").Result()
		if err == nil && len(meta) == 1 && meta[0] != nil {
			others = append(others, version)
		}
	}
	if len(others) > 0 {
		d.note("records", warning, fmt.Sprintf("there are data of wire version %s, and this command's is %s", strings.Join(others, ", "), redisstore.WireVersion),
			"replicas of different wire versions share nothing: finish the upgrade; the data expire within a day")
		return
	}
	d.note("records", sound, "all data are of wire version "+redisstore.WireVersion, "")
}

// checkListeners counts the processes that listen to the namespace.
func (d *doctor) checkListeners(ctx context.Context) {
	channel := d.name("changes")
	n, err := d.node.PubSubNumSub(ctx, channel).Result()
	if err != nil {
		d.note("replicas", warning, fmt.Sprintf("how many listen is not known: %v", err), "give the operator's user +pubsub|numsub and +pubsub|channels")
		return
	}
	if n[channel] == 0 {
		d.note("replicas", warning, fmt.Sprintf("no process listens in the namespace %q", d.namespace), "is -namespace the fleet's RedisOptions.Namespace? holdoff ls -all lists those in use")
		return
	}
	d.note("replicas", sound, fmt.Sprintf("%d listen in the namespace %q", n[channel], d.namespace), "")
}

// spread returns the median of durations, and the longest.
func spread(took []time.Duration) (median, longest time.Duration) {
	slices.Sort(took)
	return took[len(took)/2], took[len(took)-1]
}

// connectionFix says what to look at where there is no connection.
func connectionFix(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "NOAUTH"):
		return "this Redis wants a password: set HOLDOFF_REDIS_PASSWORD"
	case strings.Contains(text, "WRONGPASS"):
		return "the user or the password is wrong, or the user is off (ACL GETUSER)"
	case strings.Contains(text, "x509"), strings.Contains(text, "tls:"):
		return "check the certificate: -redis-ca names the authorities, and rediss:// says that there is TLS"
	case strings.Contains(text, "EOF"), strings.Contains(text, "reset by peer"):
		return "does this port speak TLS? then the URL begins with rediss://"
	}
	return "does Redis run there, and does the network let this machine through?"
}

// isDenied reports whether Redis forbids a command to this user.
func isDenied(err error) bool {
	answer, ok := errors.AsType[redis.Error](err)
	return ok && strings.HasPrefix(answer.Error(), "NOPERM")
}
