package mirror

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// told keeps what a watcher was told, in a line each.
type told struct{ lines []string }

func (l *told) watcher(scope string, s hold.Snapshot) {
	line := fmt.Sprintf("%s %v %d", scope, s.Phase, s.Version)
	if s.Lost {
		line = scope + " lost"
	}
	l.lines = append(l.lines, line)
}

// want checks what was told since the last call.
func (l *told) want(t *testing.T, lines ...string) {
	t.Helper()
	if !slices.Equal(l.lines, lines) {
		t.Errorf("told %q, want %q", l.lines, lines)
	}
	l.lines = nil
}

// held is a state that ends in ten seconds.
func held(version uint64) hold.Snapshot {
	return hold.Snapshot{Phase: hold.Held, Until: time.Now().Add(10 * time.Second), Version: version}
}

func healthy(version uint64) hold.Snapshot { return hold.Snapshot{Version: version} }

func TestPut_NewerStateIsToldToTheWatchersOfItsKey(t *testing.T) {
	var m Mirror
	var a, ab told
	defer m.Watch("a", a.watcher)()
	defer m.Watch("ab", ab.watcher)()
	m.Put("a", held(1), false)
	m.Put("a /v1 #01ab", held(2), false)
	m.Put("ab /v1", held(3), false)
	m.Put("abc", held(4), false)
	a.want(t, " held 1", "/v1 #01ab held 2")
	ab.want(t, "/v1 held 3")
}

func TestPut_OlderStateIsNeitherToldNorKept(t *testing.T) {
	var m Mirror
	var w told
	defer m.Watch("a", w.watcher)()
	if !m.Put("a", healthy(5), false) || m.Put("a", held(4), true) {
		t.Error("version 5 is newer than none, and 4 is not newer than 5")
	}
	w.want(t, " healthy 5")
	if all := maps.Collect(m.All()); len(all) > 0 {
		t.Errorf("an old state is kept: %+v", all)
	}
}

func TestPut_SameVersionIsToldOnlyAgain(t *testing.T) {
	var m Mirror
	var w told
	defer m.Watch("a", w.watcher)()
	m.Put("a", held(1), false)
	later := held(1)
	later.Until = later.Until.Add(time.Second)
	if m.Put("a", later, false) || m.Put("a", later, true) {
		t.Error("the same version is newer")
	}
	w.want(t, " held 1", " held 1")
	if all := maps.Collect(m.All()); all["a"] != later {
		t.Errorf("got %+v, want the state that came last", all)
	}
}

func TestPut_PermitsAreTheCallers(t *testing.T) {
	var m Mirror
	defer m.Watch("a", func(_ string, s hold.Snapshot) {
		if s.Permits != 0 {
			t.Errorf("told %d permits", s.Permits)
		}
	})()
	s := held(1)
	s.Permits = 3
	m.Put("a", s, false)
}

func TestPut_LostRecordIsToldAndBeginsAgain(t *testing.T) {
	var m Mirror
	var w told
	stop := m.Watch("a", w.watcher)
	m.Put("a /v1", held(7), false)
	m.Put("a /v1", hold.Snapshot{Lost: true}, false)
	m.Put("a /v1", held(2), false)
	stop()
	w.want(t, "/v1 held 7", "/v1 lost", "/v1 held 2")
}

func TestPut_LostRecordWithoutWatcherIsToldToTheNext(t *testing.T) {
	var m Mirror
	var w told
	m.Put("a /v1", held(7), false)
	m.Put("a /v1", hold.Snapshot{Lost: true}, false)
	m.Put("a /v2", hold.Snapshot{Lost: true}, false) // of which nothing is known
	m.Watch("a", w.watcher)()
	w.want(t, "/v1 held 7", "/v1 lost")
	m.Put("a /v1", held(1), false)
	m.Watch("a", w.watcher)()
	w.want(t, "/v1 held 1")
}

func TestWatch_TellsWhatIsNotHealthyTheWholeKeyFirst(t *testing.T) {
	var m Mirror
	var w told
	for i, record := range []string{"a /v2", "a", "b", "a /v1", "a /v3"} {
		m.Put(record, held(uint64(i+1)), false)
	}
	m.Put("a /v3", healthy(9), false)
	m.Watch("a", w.watcher)()
	w.want(t, " held 2", "/v1 held 4", "/v2 held 1")
}

func TestWatch_StopsOneWatcherAndAllItsScopes(t *testing.T) {
	var m Mirror
	var w, other told
	stop := m.Watch("a", w.watcher)
	defer m.Watch("a", other.watcher)()
	stop()
	stop()
	m.Put("a", held(1), false)
	m.Put("a /v1", held(2), false)
	w.want(t)
	other.want(t, " held 1", "/v1 held 2")
}

func TestMirror_ForgetsWhatExpiredAMinuteAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Mirror
		stop := m.Watch("a", func(string, hold.Snapshot) {})
		for i := range 100 {
			m.Put(fmt.Sprint("a /", i), held(uint64(i+1)), false)
			m.Put(fmt.Sprint("b", i), held(uint64(i+1)), false)
		}
		m.Put("a /0", healthy(200), false)
		time.Sleep(30 * time.Second)
		if m.Put("a /0", held(100), false) {
			t.Error("a state that is older than one of half a minute ago is adopted")
		}
		time.Sleep(2 * hold.Grace)
		m.Put("c", held(1), false)
		if n := m.Len(); n != 1 {
			t.Errorf("%d records are kept, want the one that is held", n)
		}
		stop()
		time.Sleep(3 * hold.Grace)
		m.Put("c", healthy(2), false)
		time.Sleep(2 * hold.Grace)
		m.Put("d", healthy(3), false)
		if len(m.keys) > 0 || m.Len() > 0 {
			t.Errorf("%d keys and %d records are left", len(m.keys), m.Len())
		}
	})
}

func TestMirror_KeysInUseHaveAPlaceWhenItIsFull(t *testing.T) {
	var m Mirror
	for i := range MaxRecords + 10 {
		m.Put(fmt.Sprint(i), held(1), false)
	}
	if n := m.Len(); n != MaxRecords {
		t.Errorf("%d records are kept, want %d", n, MaxRecords)
	}
	var w told
	stop := m.Watch("a", w.watcher)
	m.Put("a /v1", held(1), false)
	m.Put("a /v1", held(1), false)
	w.want(t, "/v1 held 1")
	if !m.Watched("a") || m.Watched("a /v1") || m.Watched("1") {
		t.Error("a, and no other key, is watched")
	}
	stop()
	if m.Watched("a") {
		t.Error("a is watched after stop")
	}
}

func TestMirror_WatchersMayCallIt(t *testing.T) {
	var m Mirror
	calls := 0
	defer m.Watch("a", func(scope string, _ hold.Snapshot) {
		if calls++; calls == 1 {
			m.Put("a /v1", held(2), false)
			m.Watch("a", func(string, hold.Snapshot) {})()
			for range m.All() {
				m.Len()
			}
		}
	})()
	m.Put("a", held(1), false)
	if calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
}

func TestMirror_IsSafeForConcurrentUse(t *testing.T) {
	var m Mirror
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			for v := range uint64(200) {
				stop := m.Watch("a", func(string, hold.Snapshot) {})
				m.Put(fmt.Sprint("a /", v%3), held(v), i == 0)
				for range m.All() {
					break
				}
				stop()
			}
		})
	}
	running.Wait()
	if n := m.Len(); n != 3 {
		t.Errorf("%d records are kept, want 3", n)
	}
}

func cleared(version uint64) hold.Snapshot { return hold.Snapshot{Version: version, Cleared: version} }

func TestPut_ClearedKeyReleasesWhatIsKnownOfItsScopes(t *testing.T) {
	var m Mirror
	m.Put("a /v1", held(1), false)
	m.Put("a /v2", held(9), false)
	m.Put("b /v1", held(2), false)
	m.Put("a", cleared(5), false)
	m.Put("a /v1", held(3), false) // it was under way
	all := maps.Collect(m.All())
	if _, newer := all["a /v2"]; !newer || len(all) != 2 {
		t.Errorf("got %v, want the scope that was held after the clear, and the other key", all)
	}
}

func TestPut_ClearedScopeReleasesThoseInside(t *testing.T) {
	var m Mirror
	m.Put("a /v1 #01ab", held(1), false)
	m.Put("a /v2 #01ab", held(2), false)
	m.Put("a /v1", cleared(5), false)
	if all := maps.Collect(m.All()); len(all) != 1 || all["a /v2 #01ab"].Phase != hold.Held {
		t.Errorf("got %v, want the other route", all)
	}
}

func TestPut_ClearedEmptyRecordReleasesAllAndTellsAll(t *testing.T) {
	var m Mirror
	var a, b told
	m.Put("a /v1", held(1), false)
	defer m.Watch("a", a.watcher)()
	defer m.Watch("b", b.watcher)()
	a.want(t, "/v1 held 1")
	m.Put("", cleared(5), false)
	a.want(t, " healthy 5")
	b.want(t, " healthy 5")
	if all := maps.Collect(m.All()); len(all) > 0 {
		t.Errorf("got %v, want nothing", all)
	}
}
