package guest_test

import (
	"bufio"
	"errors"
	"io"
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

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// A Droplet accepts just the keys it was created with.
func TestLogin(t *testing.T) {
	f := newFleet(t)
	first, second, other := newKey(t), newKey(t), newKey(t)
	start(t, f, guest.Spec{
		ID: 1, Name: "ci-1", Addrs: []netip.Addr{addr}, User: "deploy",
		AuthorizedKeys: []string{first.authorized, second.authorized},
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
		_, err := dialSSH(t, f, tt.user, tt.auth)
		if tt.want != (err == nil) || err != nil && !strings.Contains(err.Error(), "unable to authenticate") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCommands(t *testing.T) {
	t.Setenv("DIGITALOCEAN_TOKEN", "dop_v1_secret") // which no command may see
	f := newFleet(t)
	client := connect(t, f, boot(t, f))
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
}

// A session runs one command, and nothing but commands; keepalives are answered.
func TestSession(t *testing.T) {
	f := newFleet(t)
	client, s := newSession(t, f, boot(t, f))
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

// The client hears that its command was taken before it hears how it ended,
// however soon that is.
func TestACommandEndsAfterItsReply(t *testing.T) {
	f := newFleet(t)
	client := connect(t, f, boot(t, f))
	for range 50 {
		if got := run(t, client, "exit 1", ""); got.Status != 1 {
			t.Fatalf("got %+v", got)
		}
	}
}

// lifeline shows without polling whether processes live: they hold its writing end
// from their start ("exec 3>path") to the end of the last of them.
type lifeline struct {
	path string
	r    *os.File
}

func newLifeline(t *testing.T) *lifeline {
	t.Helper()
	l := &lifeline{path: filepath.Join(t.TempDir(), "alive")}
	if err := syscall.Mkfifo(l.path, 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

// start starts a command, and returns when it runs.
func (l *lifeline) start(t *testing.T, s *ssh.Session, command string) {
	t.Helper()
	if err := s.Start("exec 3>" + l.path + "; " + command); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.r, err = os.Open(l.path); err != nil { // it returns when someone opens it for writing
		t.Fatal(err)
	}
	t.Cleanup(func() { l.r.Close() })
}

// No session leaves a process behind, however it ends.
func TestNothingOutlivesASession(t *testing.T) {
	for name, tt := range map[string]struct {
		command string
		end     func(*guest.Fleet, *ssh.Client, *ssh.Session)
	}{
		"the command ends": {"sleep 300 >/dev/null 2>&1 & echo started",
			func(_ *guest.Fleet, _ *ssh.Client, s *ssh.Session) { _ = s.Wait() }},
		"the client closes the session, and the command ignores signals": {"trap '' HUP INT TERM; sleep 300 & wait; sleep 300",
			func(_ *guest.Fleet, _ *ssh.Client, s *ssh.Session) { s.Close() }},
		"the client vanishes, and did not read": {"cat /dev/zero", func(_ *guest.Fleet, c *ssh.Client, _ *ssh.Session) { c.Close() }},
		"the power is cut":                      {"sleep 300 & wait", func(f *guest.Fleet, _ *ssh.Client, _ *ssh.Session) { f.Stop(1) }},
		"the fleet is closed":                   {"cat /dev/zero", func(f *guest.Fleet, _ *ssh.Client, _ *ssh.Session) { _ = f.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			client, s := newSession(t, f, boot(t, f))
			if _, err := s.StdoutPipe(); err != nil { // that nobody reads
				t.Fatal(err)
			}
			l := newLifeline(t)
			l.start(t, s, tt.command)
			tt.end(f, client, s)
			if err := l.r.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, l.r); err != nil {
				t.Errorf("a process is left behind: %v", err)
			}
		})
	}
}

// A process in a session of its own cannot be killed with its group. It must
// not hold up anyone either, though it holds the pipes of its command.
func TestAnEscapedProcessDoesNotHoldUpStop(t *testing.T) {
	if _, err := os.Stat("/usr/bin/setsid"); err != nil {
		t.Skip("needs setsid(1), which only Linux has: ", err)
	}
	f := newFleet(t)
	_, s := newSession(t, f, boot(t, f))
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// The escaped process ends when the test no longer reads the lifeline.
	newLifeline(t).start(t, s, "setsid sh -c 'echo escaped; while echo; do sleep 0.1; done >&3' & wait")
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "escaped\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	stopped := make(chan struct{})
	go func() { f.Stop(1); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("Stop waits for the escaped process")
	}
}

func TestStartRefuses(t *testing.T) {
	f := newFleet(t)
	boot(t, f)
	free := netip.MustParseAddr("127.64.0.8")
	for want, spec := range map[string]guest.Spec{
		"starting guest 2 (ci-2): it has no address":                                   {ID: 2},
		"address 192.0.2.1 is not a loopback address":                                  {ID: 2, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		"belongs to another guest":                                                     {ID: 2, Addrs: []netip.Addr{free, addr}},
		"starting guest 1 (ci-2): it already runs as ci-1; stop it first":              {ID: 1, Addrs: []netip.Addr{free}},
		"starting guest 2 (ci-2): authorized key 1 is not an OpenSSH public key (\"ss": {ID: 2, Addrs: []netip.Addr{free}, AuthorizedKeys: []string{"ssh-rsa AAAA"}},
	} {
		spec.Name = "ci-2"
		if err := f.Start(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	start(t, f, guest.Spec{ID: 2, Name: "ci-2", Addrs: []netip.Addr{free}}) // nothing of the refused ones is in its way
}

// A stopped guest leaves nothing, and its id and address can be used again.
func TestStop(t *testing.T) {
	f := newFleet(t)
	home := strings.TrimSpace(run(t, connect(t, f, boot(t, f)), "touch file; echo $HOME", "").Stdout)
	if _, err := os.Stat(filepath.Join(home, "file")); err != nil {
		t.Fatal(err)
	}
	f.Stop(1)
	f.Stop(1)
	f.Stop(99) // a Droplet that never booted
	if _, err := os.Stat(home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the guest's directory is left (%v)", err)
	}
	if _, err := f.DialContext(t.Context(), "tcp", netip.AddrPortFrom(addr, uint16(f.Port())).String()); err == nil {
		t.Error("the guest still listens")
	}
	if got := run(t, connect(t, f, boot(t, f)), "ls -A", ""); got.Stdout != "" {
		t.Errorf("the disk outlived the Droplet: %q", got.Stdout)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := f.Start(guest.Spec{ID: 2, Addrs: []netip.Addr{addr}}); err == nil || !strings.Contains(err.Error(), "the fleet is closed") {
		t.Errorf("Start after Close: got %v", err)
	}
}

// A runner that asks for many Droplets gets them, each once it has booted, and the end of the fleet in the
// middle of it all wedges nothing.
func TestManyGuestsAtOnce(t *testing.T) {
	f := newFleet(t)
	booting := netip.MustParseAddr("127.64.2.0")
	start(t, f, guest.Spec{ID: 50, Name: "ci", Addrs: []netip.Addr{booting}, ReadyIn: time.Hour}) // Close cuts its power all the same
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			a := netip.AddrFrom4([4]byte{127, 64, 1, byte(i)})
			ready, begin := time.Duration(i)*4*time.Millisecond, time.Now()
			if err := f.Start(guest.Spec{ID: i, Name: "ci", Addrs: []netip.Addr{a}, ReadyIn: ready}); err != nil {
				t.Error(err)
				return
			}
			conn, err := f.DialContext(t.Context(), "tcp", netip.AddrPortFrom(a, uint16(f.Port())).String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			banner, err := bufio.NewReader(conn).ReadString('\n')
			if held := time.Since(begin); banner != "SSH-2.0-simulated-droplet\r\n" || held < ready {
				t.Errorf("%v says %q, %v, after %s; it boots for %s", a, banner, err, held, ready)
			}
			if i%2 == 0 {
				f.Stop(i)
			}
		})
	}
	wg.Wait()
}
