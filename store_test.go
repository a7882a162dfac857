package holdoff

import (
	"context"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/redistest"
)

func TestRedisX(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	a, err := NewRedisStore(rdb, RedisOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, _ := NewRedisStore(srv.Client(), RedisOptions{})
	defer b.Close()
	ch := make(chan State, 100)
	b.Watch("https://x", func(s State) { t.Logf("b told %+v", s); ch <- s })
	st, err := a.Exchange(context.Background(), "https://x", News{Hint: 2 * time.Second, Word: true, Status: 429})
	t.Logf("%+v %v left %v", st, err, time.Until(st.Until))
	<-ch
	t.Log(rdb.HGetAll(context.Background(), a.name(idOf("https://x"))))
	time.Sleep(2100 * time.Millisecond)
	st, err = a.Exchange(context.Background(), "https://x", News{Want: 5, Lease: time.Second})
	t.Logf("%+v %v left %v", st, err, time.Until(st.Until))
	st, err = b.Exchange(context.Background(), "https://x", News{Want: 5, Lease: time.Second})
	t.Logf("%+v %v left %v", st, err, time.Until(st.Until))
	st, err = a.Exchange(context.Background(), "https://x", News{Generation: st.Generation, Good: 1, Want: 5, Lease: time.Second})
	t.Logf("%+v %v left %v", st, err, time.Until(st.Until))
	time.Sleep(150 * time.Millisecond)
}
