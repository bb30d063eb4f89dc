package dosim

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves a handler on loopback as DigitalOcean serves its API: over TLS, with HTTP/2 and HTTP/1.1 on offer.
type Server struct {
	URL string // https://127.0.0.1:port
	CA  []byte // the certificate to trust, in PEM, such as for the file that SSL_CERT_FILE names

	http *http.Server
	done sync.WaitGroup // of Serve
}

// ServeTLS starts a Server on a free port. The caller must Close it.
func ServeTLS(h http.Handler) (*Server, error) {
	plain, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	listener, ca, err := ListenTLS(plain, Protocols...)
	if err != nil {
		_ = plain.Close()
		return nil, err
	}
	s := &Server{URL: "https://" + plain.Addr().String(), CA: ca, http: NewHTTPServer(h)}
	s.done.Go(func() { _ = s.http.Serve(listener) }) // it ends with Close
	return s, nil
}

// Close drops all connections. Close a Sim first, so that hanging requests end.
func (s *Server) Close() {
	_ = s.http.Close()
	s.done.Wait()
}

// NewHTTPServer returns a server for listeners of [ListenTLS], and for plain ones.
func NewHTTPServer(h http.Handler) *http.Server {
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Protocols:         new(http.Protocols),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if conn, ok := r.Context().Value(connKey{}).(*tlsConn); ok {
				r.TLS = new(conn.Conn.(*tls.Conn).ConnectionState())
			}
			h.ServeHTTP(w, r)
		}),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // as far as net/http sees: see tlsConn
	return server
}

// Protocols are those that DigitalOcean's API speaks over TLS.
var Protocols = []string{"h2", "http/1.1"}

// ListenTLS puts TLS over a TCP listener on loopback, with a certificate made for it, which it returns in PEM.
// It offers the protocols, such as those of [Protocols].
func ListenTLS(plain net.Listener, protocols ...string) (net.Listener, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("dosim: make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "dosim"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{plain.Addr().(*net.TCPAddr).IP},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("dosim: make a certificate: %w", err)
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protocols,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
	return tlsListener{plain, config}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tlsConn{Conn: tls.Server(conn, l.config)}, nil
}

type connKey struct{} // of the net.Conn in a request's context

// tlsConn gives HTTP/2 stream resets the code that a fault asks for, where net/http's server knows INTERNAL_ERROR
// only. It hides from net/http that it is TLS: else the server would write to the *tls.Conn past Write.
type tlsConn struct {
	net.Conn              // a *tls.Conn
	code     atomic.Int32 // for the next reset; 0: as net/http has it

	// Where Write is: at is how much of the frame's header it has seen, left how much of the payload it has not.
	header   [9]byte
	at, left int
}

// NetConn is the connection below TLS.
func (c *tlsConn) NetConn() net.Conn { return c.Conn.(*tls.Conn).NetConn() }

const (
	frameReset    = 3 // RST_STREAM, whose payload is the code in 4 bytes
	internalError = 2
)

// ResetCodes are the codes of HTTP/2 that a fault may name. Go's client resends a POST, by itself, after the first and
// the last.
var ResetCodes = map[string]int32{"PROTOCOL_ERROR": 1, "INTERNAL_ERROR": internalError, "REFUSED_STREAM": 7}

func (c *tlsConn) Write(p []byte) (int, error) {
	code := c.code.Load()
	if c.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
		return c.Conn.Write(p)
	}
	p = bytes.Clone(p)
	for i, b := range p {
		if c.at < len(c.header) {
			c.header[c.at] = b
			c.at++
			c.left = int(c.header[0])<<16 | int(c.header[1])<<8 | int(c.header[2])
		} else {
			if code != 0 && c.header[3] == frameReset && c.left == 1 && b == internalError {
				p[i] = byte(code)
			}
			c.left--
		}
		if c.at == len(c.header) && c.left == 0 {
			c.at = 0
		}
	}
	return c.Conn.Write(p)
}
