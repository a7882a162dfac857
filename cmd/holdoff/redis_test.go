package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// said is all that is printed about a URL.
func said(address string, cluster bool) string {
	c := connection{url: address, cluster: cluster, timeout: time.Second}
	if _, err := c.prepare(); err != nil {
		return err.Error() + " " + c.where()
	}
	return c.where()
}

var schemes = []string{"redis", "rediss", "unix", "http", ""}

// No part of a password is printed, whatever is in the URL beside it.
func FuzzRedisURL(f *testing.F) {
	for _, before := range []string{"", "1", "1/", "1?", "1#", "1@/", "[", "%", "%zz", "\\", " ", "\n", "1@h/0?x=", "@h:1/", "//", "::"} {
		for _, after := range []string{"", "/", "?", "#", "@", ":", "]", "%"} {
			for scheme := range schemes {
				f.Add(uint8(scheme), "user", before, after, "h:6379/0")
			}
		}
	}
	const secret = "hunter2"
	f.Fuzz(func(t *testing.T, scheme uint8, user, before, after, rest string) {
		address := fmt.Sprintf("%s://%s:%s%s%s@%s", schemes[int(scheme)%len(schemes)], user, before, secret, after, rest)
		for _, cluster := range []bool{false, true} {
			if text := said(address, cluster); strings.Contains(text, secret) {
				t.Errorf("%q: prints %q", address, text)
			}
		}
	})
}

func TestConnect_WhatIsNoURLOfRedisIsRefusedWithoutAWordOfIt(t *testing.T) {
	for _, address := range []string{
		"redis://:1/hunter2@h:6379", "redis://:1?hunter2@h", "redis://u:12#hunter2@h", "redis://h/hunter2", "redis://h/0?hunter2=1",
		"redis:hunter2", "hunter2", "redis:///hunter2", "http://hunter2", "unix://hunter2/path", "unix://u:p@/hunter2@x", "redis://h:6379?db=hunter2",
	} {
		if text := said(address, false); strings.Contains(text, "hunter2") {
			t.Errorf("%q: got %q", address, text)
		}
		if status, out, stderr := do(t, "ls", "-redis-url", address); status != exitUsage || strings.Contains(out+stderr, "hunter2") {
			t.Errorf("%q: exit status %d, %q%q", address, status, out, stderr)
		}
	}
	for _, address := range []string{
		"redis://h:6379/0?dial_timeout=1s", "redis://u:p%40%2f@h", "unix:///run/redis@1.sock", "unix://u:p@/run/redis.sock?db=1", "rediss://[::1]:6379", "redis://h?master_name=m&addr=h2:1",
	} {
		if text := said(address, false); strings.Contains(text, errURL.Error()) {
			t.Errorf("%q: got %q", address, text)
		}
	}
}
