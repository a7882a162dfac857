package redisstore

import (
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// How a Store reads everything again, where it may have missed a change.

// readAll reads every record that matters, and finds those that are gone.
func (s *Store) readAll() {
	found := make(map[string]bool) // by id: false where the index has it, and there is no record
	var start uint64               // the sequence when the reading began
	var cleared int64              // the last clear before that
	for offset := 0; ; offset += pageSize {
		reply, err := s.run(indexScript, []string{s.name("meta"), s.name("index")}, s.candidate, offset, pageSize)
		if err != nil {
			return
		}
		m, ok := decodeMeta(reply)
		if !ok || m.epoch == "" {
			return
		}
		if offset == 0 {
			start, cleared = m.seq, m.cleared
			s.mu.Lock()
			if s.serverChanged {
				s.serverChanged, s.datasetID = false, ""
				s.epochCount++ // what isn't found is lost
			}
			s.secret = m.secret
			s.redisOffset = m.clock - time.Since(s.start)
			s.enterEpoch(m.epoch)
			s.mu.Unlock()
		}
		ids := decodeIDs(reply)
		if !s.readPage(ids, found, true) {
			return
		}
		if len(reply)-metaFields < pageSize {
			break
		}
	}
	// The index moves while it is read, and a key may have slipped from a page
	// to one that was read before.
	for ids := range slices.Chunk(s.missing(found, start), pageSize) {
		if !s.readPage(ids, found, false) {
			return
		}
	}
	s.takeClear(cleared, start)
	s.mu.Lock()
	s.seq = max(s.seq, start)
	if s.missed <= start {
		s.missed = 0
	}
	epoch := s.epochCount
	s.mu.Unlock()
	for record, state := range s.mirror.All() {
		here, listed := found[idOf(record)]
		held := state.Phase == hold.Held && time.Now().Before(state.Until) // which its record outlives
		switch no, seq := splitVersion(state.Version); {
		case here:
		case no < epoch, seq <= start && (held || listed):
			s.mirror.Put(record, hold.Snapshot{Lost: true}, false)
		case seq <= start:
			// Recovered so long ago that the record has expired, and the change was not received.
			s.mirror.Put(record, hold.Snapshot{Version: version(epoch, start)}, true)
		}
	}
}

// missing returns the ids of records that were known by start and not found.
func (s *Store) missing(found map[string]bool, start uint64) (ids []string) {
	s.mu.Lock()
	epoch := s.epochCount
	s.mu.Unlock()
	for record, state := range s.mirror.All() {
		no, seq := splitVersion(state.Version)
		id := idOf(record)
		if _, read := found[id]; !read && (no < epoch || seq <= start) {
			ids = append(ids, id)
		}
	}
	return ids
}

// readPage reads the records of ids and notes which there are. An id that is
// listed in the index and has no record was evicted.
func (s *Store) readPage(ids []string, found map[string]bool, listed bool) bool {
	page, ok := s.snapshots(ids)
	if !ok {
		return false
	}
	for _, id := range ids {
		if snap, here := page[id]; here {
			found[id] = true
			s.mirror.Put(snap.key, s.observe(snap), false)
		} else if listed {
			found[id] = false
		}
	}
	return true
}

// snapshots reads the records of ids that are there and can be read.
func (s *Store) snapshots(ids []string) (map[string]snapshot, bool) {
	page := make(map[string]snapshot, len(ids))
	if len(ids) == 0 {
		return page, true
	}
	keys := []string{s.name("meta")}
	for _, id := range ids {
		keys = append(keys, s.name(id))
	}
	reply, err := s.run(readScript, keys, s.opts.MaxHold.Milliseconds())
	if err != nil || len(reply) != len(ids) {
		return nil, false
	}
	for i, id := range ids {
		fields, _ := reply[i].([]any)
		if snap, ok := decodeSnapshot(fields, s.opts.MaxHold); ok && idOf(snap.key) == id {
			page[id] = snap
		}
	}
	return page, true
}
