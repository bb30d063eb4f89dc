package dosim

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing/iotest"
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
	in.RequestURI, in.RemoteAddr = req.URL.RequestURI(), "127.0.0.1:0"
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
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

	w, aborted := httptest.NewRecorder(), make(chan bool, 1)
	go func() {
		defer func() {
			p := recover()
			if err, _ := p.(error); p != nil && !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			aborted <- p != nil
		}()
		t.h.ServeHTTP(w, in)
	}()
	select {
	case aborted := <-aborted:
		return answer(w, aborted, req)
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// refused is the header by which a handler that aborts says that there was no connection at all. Over a network there
// was one, and it is reset.
const refused = "Dosim-Refused"

func answer(w *httptest.ResponseRecorder, aborted bool, req *http.Request) (*http.Response, error) {
	lost := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	switch {
	case w.Header().Get(refused) != "":
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case aborted && !w.Flushed:
		return nil, lost
	}
	resp := w.Result()
	resp.Request = req
	if aborted {
		resp.ContentLength = -1
		resp.Body = io.NopCloser(io.MultiReader(w.Body, iotest.ErrReader(lost)))
	}
	return resp, nil
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

// pause waits for d. A client that goes away meanwhile ends the request where it is: before the operation was carried
// out it never will be, after it the answer is lost.
func (s *Sim) pause(r *http.Request, d time.Duration) {
	s.sleep(r.Context(), d)
	if d > 0 && r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
}
