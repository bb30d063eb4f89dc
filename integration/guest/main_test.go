package guest

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

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
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
	block, err1 := ssh.MarshalPrivateKey(private, "")
	signer, err2 := ssh.NewSignerFromSigner(private)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return key{pem.EncodeToMemory(block), string(ssh.MarshalAuthorizedKey(signer.PublicKey())), signer}
}

// account is what a simulated account tells of its Droplets.
type account struct {
	*Fleet
	t      *testing.T
	hooks  dosim.Hooks
	failed error // the last that got no guest
}

// newAccount makes the fleet of an account on which the user may log in.
func newAccount(t *testing.T, user string, o Options) *account {
	t.Helper()
	o.Log = t.Logf
	f, err := NewFleet(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	a := &account{Fleet: f, t: t}
	a.hooks = f.Hooks(user, time.Until, func(_ dosim.Droplet, err error) { a.failed = err })
	return a
}

// boot boots Droplet 1, "ci-1", at addr with one key.
func (a *account) boot() key {
	a.t.Helper()
	k := newKey(a.t)
	a.hooks.Created(dosim.Droplet{ID: 1, Name: "ci-1", PublicIPv4: addr, AuthorizedKeys: []string{k.authorized}, ReadyAt: time.Now()})
	if a.failed != nil {
		a.t.Fatal(a.failed)
	}
	return k
}

func (a *account) address(of netip.Addr) string {
	return netip.AddrPortFrom(of, uint16(a.Port())).String()
}

// connect dials the guest at addr as the runner does.
func (a *account) connect(k key) connector.Client {
	a.t.Helper()
	client, err := connector.Dial(a.t.Context(), provider.ConnectInfo{
		ConnectorConfig: provider.ConnectorConfig{
			Protocol: provider.ProtocolSSH, ProtocolPort: a.Port(), Username: "root", Key: k.private,
			Timeout: patience, Keepalive: 20 * time.Millisecond,
		},
		ExternalAddr: addr.String(),
	}, connector.DialOptions{UseExternalAddr: true, DialFn: a.DialContext})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { client.Close() })
	return client
}

// ssh dials the guest at addr with a plain SSH client.
func (a *account) ssh(user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	conn, err := a.DialContext(a.t.Context(), "tcp", a.address(addr))
	if err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, "guest", &ssh.ClientConfig{
		User: user, Auth: auth, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience,
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	client := ssh.NewClient(c, channels, requests)
	a.t.Cleanup(func() { client.Close() })
	return client, nil
}

// session opens a session on a guest that it boots.
func (a *account) session() (*ssh.Client, *ssh.Session) {
	a.t.Helper()
	client, err := a.ssh("root", ssh.PublicKeys(a.boot().signer))
	if err != nil {
		a.t.Fatal(err)
	}
	s, err := client.NewSession()
	if err != nil {
		a.t.Fatal(err)
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
