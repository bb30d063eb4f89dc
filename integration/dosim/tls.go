package dosim

import (
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
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
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
	return tls.NewListener(plain, config), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
