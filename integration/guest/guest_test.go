package guest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// A Droplet accepts just the keys it was created with.
func TestLogin(t *testing.T) {
	a := newAccount(t, "deploy", Options{})
	first, second, other := newKey(t), newKey(t), newKey(t)
	a.hooks.Created(dosim.Droplet{
		ID: 1, Name: "ci-1", PublicIPv4: addr, AuthorizedKeys: []string{first.authorized, second.authorized}, ReadyAt: time.Now(),
	})
	for name, tt := range map[string]struct {
		user string
		auth ssh.AuthMethod
		want bool
	}{
		"the second key":                {"deploy", ssh.PublicKeys(second.signer), true},
		"a wrong key, then a right one": {"deploy", ssh.PublicKeys(other.signer, first.signer), true},
		"a wrong key":                   {"deploy", ssh.PublicKeys(other.signer), false},
		"another user":                  {"root", ssh.PublicKeys(first.signer), false},
		"an empty password":             {"deploy", ssh.Password(""), false},
	} {
		_, err := a.ssh(tt.user, tt.auth)
		if tt.want != (err == nil) || err != nil && !strings.Contains(err.Error(), "unable to authenticate") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCommands(t *testing.T) {
	t.Setenv("DIGITALOCEAN_TOKEN", "dop_v1_secret") // which no command may see
	a := newAccount(t, "", Options{})
	client := a.connect(a.boot())
	for name, tt := range map[string]struct {
		command, stdin string
		want           result
	}{
		"output and errors are apart":                     {"echo out; echo err >&2; exit 42", "", result{"out\n", "err\n", 42}},
		"a script comes through stdin, and ends with it":  {"sh", "x=1\necho x is $x\nexit 3\n", result{"x is 1\n", "", 3}},
		"the end of stdin reaches the command":            {"wc -c | tr -d ' '", strings.Repeat("x", 3<<20), result{Stdout: "3145728\n"}},
		"stdin that the command does not want is dropped": {"true", strings.Repeat("x", 1<<20), result{}},
		"output of a background process is waited for":    {"exec 3<&0; { cat <&3; echo late; } &", "early\n", result{Stdout: "early\nlate\n"}},
		"it was killed":                  {"kill -KILL $$", "", result{Status: 128 + 9}},
		"the host name is the Droplet's": {`echo "Running on $(hostname)..."`, "", result{Stdout: "Running on ci-1...\n"}},
		"the ready command that we recommend works": {
			"(cloud-init status --wait || test $? -eq 2) && docker info", "",
			result{Stdout: "status: done\nsimulated Docker of a simulated Droplet (ci-1): no daemon, no containers\n"},
		},
		"Docker is not feigned further":          {"docker run hello-world 2>/dev/null", "", result{Status: 1}},
		"nothing of the host's environment":      {`echo "$USER$DIGITALOCEAN_TOKEN"`, "", result{Stdout: "root\n"}},
		"a home and a place for temporary files": {`test "$PWD" = "$HOME" && test -d "$TMPDIR" && ls -A`, "", result{}},
	} {
		if diff := cmp.Diff(tt.want, run(t, client, tt.command, tt.stdin)); diff != "" {
			t.Errorf("%s: running %q (-want +got):\n%s", name, tt.command, diff)
		}
	}
	// The client hears that its command was taken before it hears how it ended, however soon that is.
	for range 50 {
		if got := run(t, client, "exit 1", ""); got.Status != 1 {
			t.Fatalf("got %+v", got)
		}
	}
}

// A session runs one command, and nothing but commands; keepalives are answered.
func TestSession(t *testing.T) {
	client, s := newAccount(t, "", Options{}).session()
	if err := s.Shell(); err == nil {
		t.Error("a shell without a command is granted")
	}
	if err := s.Start("sleep 60"); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"true"})); ok || err != nil {
		t.Errorf("a second command in one session: got %v, %v", ok, err)
	}
	if ok, _, err := client.SendRequest("keepalive@openssh.com", true, nil); !ok || err != nil {
		t.Errorf("a keepalive is answered with %v, %v", ok, err)
	}
}

// No session leaves a process behind, however it ends.
func TestNothingOutlivesASession(t *testing.T) {
	for name, tt := range map[string]struct {
		command string
		end     func(*account, *ssh.Client, *ssh.Session)
	}{
		"the command ends": {"sleep 300 >/dev/null 2>&1 & echo started",
			func(_ *account, _ *ssh.Client, s *ssh.Session) { _ = s.Wait() }},
		"the client closes the session, and the command ignores signals": {"trap '' HUP INT TERM; sleep 300 & wait; sleep 300",
			func(_ *account, _ *ssh.Client, s *ssh.Session) { s.Close() }},
		"the client vanishes, and did not read": {"cat /dev/zero", func(_ *account, c *ssh.Client, _ *ssh.Session) { c.Close() }},
		"the power is cut": {"sleep 300 & wait",
			func(a *account, _ *ssh.Client, _ *ssh.Session) { a.hooks.Gone(dosim.Droplet{ID: 1}) }},
		"the fleet is closed": {"cat /dev/zero", func(a *account, _ *ssh.Client, _ *ssh.Session) { _ = a.Close() }},
		// One in a session of its own is not killed with its group, and ends when the test no longer reads. It must not hold up
		// anyone, though it holds the pipes of its command.
		"the power is cut, and a process has escaped": {"setsid sh -c 'while echo; do sleep 0.1; done >&3' & wait",
			func(a *account, _ *ssh.Client, _ *ssh.Session) { a.hooks.Gone(dosim.Droplet{ID: 1}) }},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t, "", Options{})
			client, s := a.session()
			if _, err := s.StdoutPipe(); err != nil { // that nobody reads
				t.Fatal(err)
			}
			// Processes hold the writing end of the lifeline from their start to the end of the last of them.
			lifeline := filepath.Join(t.TempDir(), "alive")
			if err := errors.Join(syscall.Mkfifo(lifeline, 0o600), s.Start("exec 3>"+lifeline+"; "+tt.command)); err != nil {
				t.Fatal(err)
			}
			alive, err := os.Open(lifeline) // it returns when someone opens it for writing
			if err != nil {
				t.Fatal(err)
			}
			defer alive.Close()
			escaped := strings.Contains(name, "escaped")
			if escaped {
				if _, err := alive.Read(make([]byte, 1)); err != nil { // when it runs
					t.Fatal(err)
				}
			}
			ended := make(chan struct{})
			go func() { tt.end(a, client, s); close(ended) }()
			select {
			case <-ended:
			case <-time.After(patience):
				t.Fatal("the end does not come")
			}
			if escaped {
				return
			}
			if err := alive.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, alive); err != nil {
				t.Errorf("a process is left behind: %v", err)
			}
		})
	}
}

// A Droplet that gets no guest has nothing of one; a stopped guest leaves nothing, and its address can be used again.
func TestNothingIsLeft(t *testing.T) {
	a := newAccount(t, "", Options{})
	home := strings.TrimSpace(run(t, a.connect(a.boot()), "touch file; echo $HOME", "").Stdout)
	free := netip.MustParseAddr("127.64.0.8")
	for want, d := range map[string]dosim.Droplet{
		"is not a loopback address":               {PublicIPv4: netip.MustParseAddr("192.0.2.1")},
		"address already in use":                  {PublicIPv4: free, PrivateIPv4: addr},
		`"ssh-rsa AAAA" is not an OpenSSH public`: {PublicIPv4: free, AuthorizedKeys: []string{"ssh-rsa AAAA"}},
	} {
		d.ID, d.ReadyAt = 2, time.Now()
		if a.hooks.Created(d); a.failed == nil || !strings.Contains(a.failed.Error(), want) {
			t.Errorf("got %v, want %q in it", a.failed, want)
		}
		a.failed = nil
	}
	a.hooks.Created(dosim.Droplet{ID: 2, PublicIPv4: free, ReadyAt: time.Now()})
	a.hooks.Created(dosim.Droplet{ID: 3, PublicIPv4: free}) // never becomes active
	a.hooks.Gone(dosim.Droplet{ID: 3})
	a.hooks.Gone(dosim.Droplet{ID: 1})
	if _, err := os.Stat(home); !errors.Is(err, os.ErrNotExist) || a.failed != nil {
		t.Errorf("the guest's directory is left (%v); the free address: %v", err, a.failed)
	}
	if _, err := a.DialContext(t.Context(), "tcp", a.address(addr)); err == nil {
		t.Error("the guest still listens")
	}
	if got := run(t, a.connect(a.boot()), "ls -A", ""); got.Stdout != "" {
		t.Errorf("the disk outlived the Droplet: %q", got.Stdout)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if a.hooks.Created(dosim.Droplet{ID: 4, ReadyAt: time.Now()}); a.failed == nil {
		t.Error("a closed fleet boots a Droplet")
	}
}

// A runner that asks for many Droplets gets them, each once it has booted, and the end of the fleet in the middle of it
// all wedges nothing.
func TestManyGuestsAtOnce(t *testing.T) {
	a := newAccount(t, "", Options{})
	booting := netip.MustParseAddr("127.64.2.0")
	// Close cuts its power all the same.
	a.hooks.Created(dosim.Droplet{ID: 50, PublicIPv4: booting, ReadyAt: time.Now().Add(time.Hour)})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			at, ready := netip.AddrFrom4([4]byte{127, 64, 1, byte(i)}), time.Now().Add(time.Duration(i)*4*time.Millisecond)
			a.hooks.Created(dosim.Droplet{ID: i, PublicIPv4: at, ReadyAt: ready})
			conn, err := a.DialContext(t.Context(), "tcp", a.address(at))
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if banner, err := bufio.NewReader(conn).ReadString('\n'); banner != "SSH-2.0-simulated-droplet\r\n" || time.Now().Before(ready) {
				t.Errorf("%v says %q, %v, %s before it has booted", at, banner, err, time.Until(ready))
			}
			if i%2 == 0 {
				a.hooks.Gone(dosim.Droplet{ID: i})
			}
		})
	}
	wg.Wait()
}

// On a host that does not have the address the guest is reached through DialContext, at the very address that the
// simulated account tells.
func TestDialContextFindsGuestsThatCannotBind(t *testing.T) {
	a := newAccount(t, "", Options{Port: 22})
	a.listen = func(network, address string) (net.Listener, error) {
		if address != "127.0.0.1:0" {
			return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EADDRNOTAVAIL}
		}
		return net.Listen(network, address)
	}
	a.boot()
	conn, err := a.DialContext(t.Context(), "tcp", "127.64.0.7:22")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Error(err)
	}
}

// fakeDocker stands for this host's docker command, of which one Engine answers.
const fakeDocker = `#!/bin/sh
case "$1 $DOCKER_HOST" in
"context "*) echo unix:///engine.sock ;;
"version unix:///engine.sock") echo 20.10 ;;
"version "*) printf 'a warning\nCannot connect to %s.\n' "$DOCKER_HOST" >&2; exit 1 ;;
*) echo "$DOCKER_HOST" "$@" ;;
esac
`

func TestDockerIsTheHosts(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	refused := func(socket, want string) {
		t.Helper()
		if _, err := FindDocker(t.Context(), socket); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	refused("", `no Docker: exec: "docker": executable file not found in $PATH`)
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(fakeDocker), 0o700); err != nil {
		t.Fatal(err)
	}
	refused("/none.sock", "no Docker Engine: Cannot connect to unix:///none.sock.")
	d, err := FindDocker(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	a := newAccount(t, "", Options{Docker: d})
	got := run(t, a.connect(a.boot()), "docker system dial-stdio && docker info", "")
	if diff := cmp.Diff(result{Stdout: "unix:///engine.sock system dial-stdio\nunix:///engine.sock info\n"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
