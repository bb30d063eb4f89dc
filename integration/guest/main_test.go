package guest_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/connector"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what should happen at once.
const patience = 20 * time.Second

var addr = netip.MustParseAddr("127.64.0.7")

// key is a key pair in the forms that the two ends want.
type key struct {
	private    []byte // PEM, for connector_config
	authorized string // for the Droplet
	signer     ssh.Signer
}

func newKey(t *testing.T) key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return key{pem.EncodeToMemory(block), string(ssh.MarshalAuthorizedKey(signer.PublicKey())), signer}
}

func newFleet(t *testing.T) *guest.Fleet {
	t.Helper()
	f, err := guest.NewFleet(guest.Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

// boot starts guest 1, "ci-1", at addr with one key.
func boot(t *testing.T, f *guest.Fleet) key {
	t.Helper()
	k := newKey(t)
	start(t, f, guest.Spec{ID: 1, Name: "ci-1", Addrs: []netip.Addr{addr}, AuthorizedKeys: []string{k.authorized}})
	return k
}

func start(t *testing.T, f *guest.Fleet, spec guest.Spec) {
	t.Helper()
	if err := f.Start(spec); err != nil {
		t.Fatal(err)
	}
}

// connect dials the guest at addr as the runner does.
func connect(t *testing.T, f *guest.Fleet, k key) connector.Client {
	t.Helper()
	client, err := connector.Dial(t.Context(), provider.ConnectInfo{
		ConnectorConfig: provider.ConnectorConfig{
			Protocol: provider.ProtocolSSH, ProtocolPort: f.Port(), Username: "root", Key: k.private,
			Timeout: patience, Keepalive: 20 * time.Millisecond,
		},
		ExternalAddr: addr.String(),
	}, connector.DialOptions{UseExternalAddr: true, DialFn: f.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// dialSSH dials the guest at addr with a plain SSH client.
func dialSSH(t *testing.T, f *guest.Fleet, user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	t.Helper()
	address := netip.AddrPortFrom(addr, uint16(f.Port())).String()
	conn, err := f.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: user, Auth: auth, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience,
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	client := ssh.NewClient(c, channels, requests)
	t.Cleanup(func() { client.Close() })
	return client, nil
}

// newSession opens a session as root, with a key that is accepted.
func newSession(t *testing.T, f *guest.Fleet, k key) (*ssh.Client, *ssh.Session) {
	t.Helper()
	client, err := dialSSH(t, f, "root", ssh.PublicKeys(k.signer))
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return client, s
}

// result is what a command leaves.
type result struct {
	Stdout, Stderr string
	Status         int
}

// run runs command through the runner's connector.
func run(t *testing.T, client connector.Client, command, stdin string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	err := client.Run(ctx, connector.RunOptions{Command: command, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr})
	r := result{Stdout: stdout.String(), Stderr: stderr.String()}
	if exit, ok := errors.AsType[*connector.ExitError](err); ok {
		r.Status = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("running %q: %v", command, err)
	}
	return r
}
