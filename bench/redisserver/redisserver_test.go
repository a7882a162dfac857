package redisserver

import (
	"os"
	"testing"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

func TestStart(t *testing.T) {
	redistest.Binary(t)
	srv, stop, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	if version, err := Version(t.Context(), srv.Addr); err != nil || version == "" {
		t.Errorf("got version %q, %v", version, err)
	}
	stop()
	if _, err := os.Stat(srv.Dir()); !os.IsNotExist(err) {
		t.Errorf("the server's directory is left behind: %v", err)
	}
}

func TestStartWithoutRedis(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("HOLDOFF_REDIS", "")
	if _, _, err := Start(); err != ErrNone {
		t.Errorf("got %v, want %v", err, ErrNone)
	}
}

func TestStartWithBadSettings(t *testing.T) {
	redistest.Binary(t)
	if _, _, err := Start("--no-such-setting", "1"); err == nil {
		t.Error("a server with bad settings was started")
	}
}
