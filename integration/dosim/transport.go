package dosim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// Transport is an in-process http.RoundTripper that reaches this Sim whatever the request's host: no socket, no real
// time, so that a client runs against it under testing/synctest.
func (s *Sim) Transport() http.RoundTripper { return InProcess(s) }

// InProcess is an http.RoundTripper that hands requests to h, each in a goroutine of its own that ends with h. It
// honours the request's context as a network does: the client gets the context's error at once, while h runs on. When
// h aborts with http.ErrAbortHandler, the client sees its connection reset: before or, if h had begun it, within the
// answer.
func InProcess(h http.Handler) http.RoundTripper { return inProcess{h} }

type inProcess struct{ h http.Handler }

// RoundTrip implements http.RoundTripper.
func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	in := req.Clone(req.Context())
	in.RequestURI = req.URL.RequestURI()
	in.RemoteAddr = "127.0.0.1:0"
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	in.Body = http.NoBody
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		_ = req.Body.Close()
		if err != nil {
			return nil, err
		}
		in.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}

	answered := make(chan *memoryWriter, 1)
	go func() {
		w := &memoryWriter{header: http.Header{}}
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				w.aborted = true
			}
			answered <- w
		}()
		t.h.ServeHTTP(w, in)
	}()
	select {
	case w := <-answered:
		return w.response(req)
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// memoryWriter records an answer. One goroutine writes it, and hands it over by channel.
type memoryWriter struct {
	header  http.Header
	status  int
	sent    http.Header // as of WriteHeader
	body    bytes.Buffer
	aborted bool
	refused bool
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

func (w *memoryWriter) response(req *http.Request) (*http.Response, error) {
	reset := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	switch {
	case w.refused:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case w.aborted && w.status == 0:
		return nil, reset
	}
	w.WriteHeader(http.StatusOK)
	resp := &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: req,
	}
	if w.aborted {
		resp.ContentLength = -1
		resp.Body = io.NopCloser(io.MultiReader(&w.body, failingReader{reset}))
	}
	return resp, nil
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// refuse ends the request as if nobody listened. A real server has accepted the connection already: it resets it.
func refuse(w http.ResponseWriter) {
	if m, ok := w.(*memoryWriter); ok {
		m.refused = true
		panic(http.ErrAbortHandler)
	}
	reset(w)
}

// reset ends the request with a TCP reset where there is a TCP connection of its own, else by aborting: over HTTP/2
// with a reset of the stream.
func reset(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
			conn = over.NetConn() // no farewell of TLS before the reset
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // unsent data is dropped, and the peer reads ECONNRESET rather than EOF
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// hang waits until the client gives up or the Sim is closed, and never answers.
func (s *Sim) hang(r *http.Request) {
	ctx := r.Context()
	select {
	case <-ctx.Done():
	case <-s.closing.Done():
	}
	panic(http.ErrAbortHandler)
}

// pause waits for d. A client that goes away meanwhile ends the request where it is: before the operation was carried
// out it never will be, after it the answer is lost.
func (s *Sim) pause(r *http.Request, d time.Duration) {
	_ = s.sleep(r.Context(), d)
	if d > 0 && r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
}
