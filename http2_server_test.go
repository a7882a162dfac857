package holdoff_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

var discardLog = log.New(io.Discard, "", 0)

// An h2Request is a request that an h2Server has read to its end.
type h2Request struct {
	number int // counted over all connections, from 0
	stream uint32
	body   string

	conn net.Conn
}

// Frames of RFC 9113, section 6.
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8

	flagEndStream  = 0x1 // of DATA and HEADERS
	flagAck        = 0x1 // of SETTINGS and PING
	flagEndHeaders = 0x4
)

// write writes one frame. A connection that the client has left is the client's
// to report.
func (r h2Request) write(kind, flags byte, stream uint32, payload ...byte) {
	writeFrame(r.conn, kind, flags, stream, payload...)
}

func (r h2Request) answer200() {
	r.write(frameHeaders, flagEndHeaders|flagEndStream, r.stream, 0x88) // :status 200 of HPACK's static table
}

func (r h2Request) reset(code byte) { r.write(frameReset, 0, r.stream, 0, 0, 0, code) }

func (r h2Request) goAway(last uint32, code byte) {
	r.write(frameGoAway, 0, 0, append(binary.BigEndian.AppendUint32(nil, last), 0, 0, 0, code)...)
}

func writeFrame(w io.Writer, kind, flags byte, stream uint32, payload ...byte) {
	size := len(payload)
	f := []byte{byte(size >> 16), byte(size >> 8), byte(size), kind, flags}
	f = binary.BigEndian.AppendUint32(f, stream)
	w.Write(append(f, payload...))
}

// startH2 starts a server of HTTP/2 over TLS, written by hand so that it can do
// what net/http's never does, and a net/http Transport that trusts it.
func startH2(t *testing.T, serve func(h2Request)) (url string, base *http.Transport) {
	t.Helper()
	cert := httptest.NewTLSServer(nil)
	defer cert.Close()
	base = cert.Client().Transport.(*http.Transport).Clone()
	base.ForceAttemptHTTP2 = true
	t.Cleanup(base.CloseIdleConnections)

	var mu sync.Mutex
	count := 0
	numbered := func(r h2Request) {
		mu.Lock()
		defer mu.Unlock()
		r.number = count
		count++
		serve(r)
	}
	config := &tls.Config{Certificates: cert.TLS.Certificates, NextProtos: []string{"h2"}}
	address := startListener(t, func(c net.Conn) {
		conn := tls.Server(c, config)
		defer conn.Close()
		readH2(conn, numbered)
	})
	return "https://" + address, base
}

// readH2 reads the requests of a connection until the client leaves.
func readH2(conn net.Conn, serve func(h2Request)) {
	r := bufio.NewReader(conn)
	const preface = 24
	if _, err := r.Discard(preface); err != nil {
		return
	}
	writeFrame(conn, frameSettings, 0, 0)
	bodies := map[uint32]string{}
	var head [9]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		switch {
		case kind == frameSettings && flags&flagAck == 0:
			writeFrame(conn, frameSettings, flagAck, 0)
		case kind == framePing && flags&flagAck == 0:
			writeFrame(conn, framePing, flagAck, 0, payload...)
		case kind == frameData && len(payload) > 0:
			bodies[stream] += string(payload)
			more := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
			writeFrame(conn, frameWindowUpdate, 0, 0, more...)
			if flags&flagEndStream == 0 {
				writeFrame(conn, frameWindowUpdate, 0, stream, more...)
			}
		}
		if (kind == frameHeaders || kind == frameData) && flags&flagEndStream != 0 {
			serve(h2Request{stream: stream, body: bodies[stream], conn: conn})
		}
	}
}

// startListener serves each connection on a goroutine of its own, and closes it
// afterwards.
func startListener(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		stop()
		running.Wait()
	})
	return l.Addr().String()
}
