package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// field is one server, a proxy in front of it, and a fleet behind that.
type field struct {
	*rig
	srv   *redistest.Server
	proxy *redistest.Proxy
	admin *redis.Client // talks to the server without the proxy
}

// do has the server do something that must work.
func (f *field) do(args ...any) {
	f.t.Helper()
	if err := f.admin.Do(context.Background(), args...).Err(); err != nil {
		f.t.Errorf("%v: %v", args, err)
	}
}

// What a store's log says begins with one of these, and one takes back the other.
const (
	isAway    = "Redis is unreachable"
	isBack    = "Redis is back"
	isRefused = "Redis rejects commands"
	obliges   = "Redis accepts commands again"
)

var opposites = map[string]string{isAway: isBack, isBack: isAway, isRefused: obliges, obliges: isRefused}

const (
	fleetSize = 4
	keySpace  = "holdoff:{default}:v3:"
)

// way is one in which a server can fail a fleet.
type way struct {
	name   string
	server []string
	client redis.Options // its address is the field's to set
	direct bool          // without the proxy
	brief  bool          // a part of TestOneServerBriefly as well
	fault  func(f *field) fault
}

// ways returns all of them.
func ways() []way {
	return []way{
		{name: "no fault", fault: func(f *field) fault {
			return fault{sharing: 3 * time.Second}
		}},
		{name: "absent at start", brief: true, direct: true, fault: func(f *field) fault {
			return fault{from: isAway, absent: true, heal: f.srv.Restart}
		}},
		{name: "killed, restarted without data", brief: true, direct: true, fault: func(f *field) fault {
			return fault{from: isAway, harm: f.srv.Kill, heal: f.srv.Restart}
		}},
		{name: "killed, restarted with its data", direct: true, server: []string{"--appendonly", "yes", "--appendfsync", "always"},
			fault: func(f *field) fault {
				return fault{from: isAway, harm: f.srv.Kill, heal: f.srv.Restart}
			}},
		{name: "stopped", brief: true, direct: true, fault: func(f *field) fault {
			return fault{from: isAway, harm: f.srv.Pause, heal: f.srv.Continue}
		}},
		{name: "black hole", brief: true, fault: func(f *field) fault {
			return fault{from: isAway,
				harm: func() { f.proxy.BlackHole(true) }, heal: func() { f.proxy.BlackHole(false) }}
		}},
		{name: "two seconds late", fault: func(f *field) fault {
			return fault{from: isAway,
				harm: func() { f.proxy.Set(redistest.Faults{Delay: time.Second}) }, heal: func() { f.proxy.Set(redistest.Faults{}) }}
		}},
		{name: "replies are lost", fault: func(f *field) fault {
			return fault{from: isAway,
				harm: func() { f.proxy.Set(redistest.Faults{LoseReplies: true}) },
				heal: func() {
					f.proxy.Set(redistest.Faults{})
					f.proxy.Cut() // what lost a part of its bytes is of no use
				}}
		}},
		{name: "requests are lost", fault: func(f *field) fault {
			return fault{from: isAway, harm: func() { f.proxy.Set(redistest.Faults{LoseRequests: true}) },
				heal: func() {
					f.proxy.Set(redistest.Faults{})
					f.proxy.Cut()
				}}
		}},
		{name: "connections are cut again and again", brief: true, fault: func(f *field) fault {
			return fault{mute: true, sharing: 5 * time.Second, during: f.proxy.Cut}
		}},
		// Nothing says that it does not live, until a heartbeat is missing for 12 s.
		{name: "only the subscription is swallowed", brief: true, fault: func(f *field) fault {
			return fault{sharing: 15 * time.Second, lasts: 6 * time.Second,
				harm: func() { f.proxy.Set(redistest.Faults{LoseReplies: true, OnlySubscribed: true}) },
				heal: func() { f.proxy.Set(redistest.Faults{}) }}
		}},
		{name: "only the subscription hangs", fault: func(f *field) fault {
			return fault{sharing: 15 * time.Second,
				harm: func() { f.proxy.Set(redistest.Faults{StallRequests: true, StallReplies: true, OnlySubscribed: true}) },
				heal: func() { f.proxy.Set(redistest.Faults{}) }}
		}},
		{name: "subscribers are killed under churn", fault: func(f *field) fault {
			churn := 0
			return fault{
				during: func() {
					f.do("CLIENT", "KILL", "TYPE", "pubsub")
					for range 4 {
						churn++
						host := fmt.Sprintf("churn-%d.example", churn)
						f.origin.refuse(host, time.Minute)
						ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
						f.replicas[churn%fleetSize].get(ctx, host) // it is refused, and won't wait
						cancel()
					}
				},
				afterHeal: func() {
					f.wait("all holds are known to all", 5*time.Second, func() bool {
						return f.all(func(rep *replica) bool {
							known := 0
							for k := range rep.tr.Keys() {
								if strings.Contains(k.Key, "churn-") && k.Phase == holdoff.Held && k.Shared {
									known++
								}
							}
							return known == churn
						})
					})
				}}
		}},
		{name: "flushed again and again", brief: true, fault: func(f *field) fault {
			return fault{mute: true, sharing: 5 * time.Second, during: func() { f.do("FLUSHALL") }}
		}},
		{name: "scripts are flushed again and again", fault: func(f *field) fault {
			return fault{sharing: 3 * time.Second, during: func() { f.do("SCRIPT", "FLUSH") }}
		}},
		{name: "full, nothing is evicted", brief: true, fault: func(f *field) fault {
			return fault{from: isRefused,
				harm: func() {
					f.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
					f.do("CONFIG", "SET", "maxmemory", "1mb")
				},
				heal: func() { f.do("CONFIG", "SET", "maxmemory", "0") }}
		}},
		{name: "full, anything is evicted", fault: func(f *field) fault {
			n := 0
			return fault{mute: true,
				harm: func() {
					f.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
					f.do("CONFIG", "SET", "maxmemory", "5mb")
				},
				during: func() {
					_, err := f.admin.Pipelined(context.Background(), func(p redis.Pipeliner) error {
						for range 300 {
							n++
							p.Set(context.Background(), fmt.Sprintf("other-%d", n), strings.Repeat("x", 4096), 0)
						}
						return nil
					})
					if err != nil && !strings.HasPrefix(err.Error(), "OOM") {
						f.t.Error(err)
					}
				},
				heal: func() {
					f.do("CONFIG", "SET", "maxmemory", "0")
				}}
		}},
		{name: "read only", brief: true, fault: func(f *field) fault {
			return fault{from: isRefused,
				harm: func() { f.do("REPLICAOF", "127.0.0.1", "1") }, // nobody is there, so that it keeps its data
				heal: func() { f.do("REPLICAOF", "NO", "ONE") }}
		}},
		{name: "too few replicas", fault: func(f *field) fault {
			return fault{from: isRefused,
				harm: func() { f.do("CONFIG", "SET", "min-replicas-to-write", "1") },
				heal: func() { f.do("CONFIG", "SET", "min-replicas-to-write", "0") }}
		}},
		{name: "snapshots fail", brief: true, fault: func(f *field) fault {
			return fault{from: isRefused,
				harm: func() {
					// A directory in the file's place is in the way of root as well.
					if err := os.Mkdir(filepath.Join(f.srv.Dir(), "dump.rdb"), 0o700); err != nil {
						f.t.Error(err)
					}
					f.do("CONFIG", "SET", "save", "3600 1000000")
					f.do("BGSAVE")
					f.srv.Await("persistence", "rdb_last_bgsave_status:err")
				},
				heal: func() { f.do("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") }}
		}},
		{name: "loading", fault: func(f *field) fault {
			return fault{mute: true,
				harm: func() {
					f.do("DEBUG", "POPULATE", either(40_000, 150_000), "filler", 100)
					f.do("CONFIG", "SET", "key-load-delay", 100, "loading-process-events-interval-bytes", 1024)
					f.load.Go(func() { f.admin.Do(context.Background(), "DEBUG", "RELOAD") })
				},
				heal: func() {
					f.wait("it is loaded", time.Minute, func() bool {
						return f.admin.Set(context.Background(), "loaded", 1, time.Minute).Err() == nil
					})
				}}
		}},
		{name: "busy with a script", fault: func(f *field) fault {
			return fault{mute: true,
				harm: func() {
					f.do("CONFIG", "SET", "busy-reply-threshold", 100)
					f.load.Go(func() { f.admin.Eval(context.Background(), "while true do end", nil) })
				},
				heal: func() { f.do("SCRIPT", "KILL") }}
		}},
		{name: "asleep", fault: func(f *field) fault {
			return fault{from: isAway, harm: func() {
				f.load.Go(func() { f.admin.Do(context.Background(), "DEBUG", "SLEEP", either("6.5", "29.5")) })
			}}
		}},
		{name: "no channels", fault: func(f *field) fault {
			return fault{sharing: 3 * time.Second,
				harm: func() { f.do("ACL", "SETUSER", "default", "resetchannels") },
				heal: func() { f.do("ACL", "SETUSER", "default", "allchannels") }}
		}},
		{name: "no scripts", fault: func(f *field) fault {
			return fault{from: isRefused,
				harm: func() { f.do("ACL", "SETUSER", "default", "-@scripting") },
				heal: func() { f.do("ACL", "SETUSER", "default", "+@scripting") }}
		}},
		{name: "no keys of ours", fault: func(f *field) fault {
			return fault{from: isRefused,
				harm: func() { f.do("ACL", "SETUSER", "default", "resetkeys", "~other:*") },
				heal: func() { f.do("ACL", "SETUSER", "default", "allkeys") }}
		}},
		{name: "another password", server: []string{"--requirepass", "right"}, client: redis.Options{Password: "right"},
			fault: func(f *field) fault {
				return fault{mute: true,
					harm: func() {
						f.do("CONFIG", "SET", "requirepass", "another")
						f.do("CLIENT", "KILL", "TYPE", "normal")
						f.do("CLIENT", "KILL", "TYPE", "pubsub")
					},
					heal: func() { f.do("CONFIG", "SET", "requirepass", "right") }}
			}},
		{name: "the index and the sequence are others'", fault: func(f *field) fault {
			return fault{mute: true, sharing: 3 * time.Second, // they are replaced
				harm: func() {
					f.do("SET", keySpace+"index", "other")
					f.do("SET", keySpace+"meta", "other")
				},
				heal: func() { f.do("DEL", keySpace+"index", keySpace+"meta") }}
		}},
		{name: "every record is of the future", fault: func(f *field) fault {
			return fault{mute: true,
				during: func() {
					for _, key := range f.records() {
						f.do("HSET", key, "v", "4")
					}
				},
				heal: func() { f.do("FLUSHALL") }}
		}},
		{name: "every record is without end", fault: func(f *field) fault {
			return fault{
				during: func() {
					for _, key := range f.records() {
						if strings.Contains(f.admin.HGet(context.Background(), key, "key").Val(), "told-") {
							f.do("HSET", key, "until", "99999999999999", "counts", strings.Repeat("\xff", 22*7)) // every number is the largest
							f.do("PEXPIRE", key, time.Hour.Milliseconds())
						}
					}
					f.do("HINCRBY", keySpace+"meta", "seq", 1)
				}}
		}},
		{name: "every record is a string", brief: true, fault: func(f *field) fault {
			return fault{mute: true,
				during: func() {
					for _, key := range f.records() {
						f.do("SET", key, "\x00\xff", "EX", "60")
					}
				},
				heal: func() { f.do("FLUSHALL") }}
		}},
	}
}

// start returns a fleet under load, and what is to be done to it.
func (c way) start(t *testing.T) (*field, fault) {
	f := &field{srv: redistest.Start(t, c.server...)}
	f.proxy = redistest.StartProxy(t, f.srv.Addr)
	f.admin = redis.NewClient(&redis.Options{Addr: f.srv.Addr, Password: c.client.Password, PoolSize: 4, ReadTimeout: time.Minute})
	t.Cleanup(func() { f.admin.Close() })
	what := c.fault(f)
	if what.absent {
		f.srv.Kill()
	}
	f.rig = newRig(t, fleetSize, func(int) redis.UniversalClient {
		options := c.client
		options.Addr = f.proxy.Addr
		if c.direct {
			options.Addr = f.srv.Addr
		}
		return redis.NewClient(&options)
	})
	return f, what
}

// Every way in which one server can fail a fleet.
func TestOneServer(t *testing.T) {
	wanted(t)
	for _, c := range ways() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			begin(t)
			f, what := c.start(t)
			f.run(what)
			if t.Failed() {
				t.Logf("go-redis printed %d lines so far", goRedis.lines.Load())
			}
		})
	}
}

// records returns our keys that are records.
func (f *field) records() (keys []string) {
	all, err := f.admin.Keys(context.Background(), keySpace+"*").Result()
	if err != nil {
		f.t.Error(err)
	}
	for _, key := range all {
		if !strings.HasSuffix(key, "index") && !strings.HasSuffix(key, "meta") && !strings.HasSuffix(key, "changes") {
			keys = append(keys, key)
		}
	}
	return keys
}
