//go:build unix

package guest_test

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

func TestCommands(t *testing.T) {
	f := newFleet(t)
	client := connect(t, f, boot(t, f))

	tests := map[string]struct {
		command string
		stdin   string
		want    result
	}{
		"output and errors are apart": {
			command: "echo out; echo err >&2",
			want:    result{Stdout: "out\n", Stderr: "err\n"},
		},
		"the exit status arrives": {
			command: "exit 42",
			want:    result{Status: 42},
		},
		"a script comes through stdin, and ends with it": {
			command: "sh",
			stdin:   "x=1\necho x is $x\nexit 3\n",
			want:    result{Stdout: "x is 1\n", Status: 3},
		},
		"the end of stdin reaches the command": {
			command: "wc -c | tr -d ' '",
			stdin:   strings.Repeat("x", 3<<20),
			want:    result{Stdout: "3145728\n"},
		},
		"stdin that the command does not want is dropped": {
			command: "true",
			stdin:   strings.Repeat("x", 1<<20),
		},
		"output of a background process is waited for": {
			command: "exec 3<&0; { cat <&3; echo late; } &",
			stdin:   "early\n",
			want:    result{Stdout: "early\nlate\n"},
		},
		"the host name is the Droplet's": {
			command: `echo "Running on $(hostname)..."`,
			want:    result{Stdout: "Running on ci-1...\n"},
		},
		"the ready command that we recommend works": {
			command: "(cloud-init status --wait || test $? -eq 2) && docker info",
			want:    result{Stdout: "status: done\nsimulated Docker of a simulated Droplet (ci-1): no daemon, no containers\n"},
		},
		"Docker is not feigned further": {
			command: "docker run hello-world",
			want: result{
				Stderr: "docker: a simulated Droplet has no Docker and cannot run 'docker run hello-world'; it knows 'docker info', and 'docker system dial-stdio' as an SSH command\n",
				Status: 1,
			},
		},
		"nor is cloud-init": {
			command: "cloud-init clean",
			want: result{
				Stderr: "cloud-init: a simulated Droplet knows only 'cloud-init status', not 'clean'\n",
				Status: 1,
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := run(t, client, tt.command, tt.stdin)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("running %q (-want +got):\n%s", tt.command, diff)
			}
		})
	}
}

// A command sees its Droplet, and none of the host's variables.
func TestEnvironment(t *testing.T) {
	t.Setenv("DIGITALOCEAN_TOKEN", "dop_v1_secret")
	f := newFleet(t)
	client := connect(t, f, boot(t, f))

	got := make(map[string]string)
	for line := range strings.Lines(run(t, client, "env", "").Stdout) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[name] = value
	}
	if !strings.Contains(got["PATH"], "/bin:/usr/local/sbin:") || !strings.HasSuffix(got["HOME"], "/1/home") || !strings.HasSuffix(got["TMPDIR"], "/1/tmp") {
		t.Errorf("PATH, HOME or TMPDIR is not the guest's own: %v", got)
	}
	if got["PWD"] != got["HOME"] {
		t.Errorf("a command runs in %q, not in its home %q", got["PWD"], got["HOME"])
	}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "PWD"} { // differ with the fleet's directory
		delete(got, name)
	}
	for _, name := range []string{"_", "OLDPWD", "SHLVL"} { // some shells add them
		delete(got, name)
	}
	want := map[string]string{"USER": "root", "LOGNAME": "root", "HOSTNAME": "ci-1", "SHELL": "/bin/sh"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestSessionRequests(t *testing.T) {
	f := newFleet(t)
	client := mustDialSSH(t, f, boot(t, f))
	session := func(t *testing.T) *ssh.Session {
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}

	t.Run("env sets a variable", func(t *testing.T) {
		s := session(t)
		if err := s.Setenv("CI_JOB_ID", "17"); err != nil {
			t.Fatal(err)
		}
		if out, err := s.Output("echo $CI_JOB_ID"); err != nil || string(out) != "17\n" {
			t.Errorf("got %q, %v", out, err)
		}
	})

	t.Run("env cannot smuggle a second variable", func(t *testing.T) {
		if err := session(t).Setenv("A=B", "C"); err == nil {
			t.Error("accepted")
		}
	})

	t.Run("a pty is granted and is none", func(t *testing.T) {
		s := session(t)
		if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
			t.Fatal(err)
		}
		if out, err := s.Output("test -t 0 || echo no terminal"); err != nil || string(out) != "no terminal\n" {
			t.Errorf("got %q, %v", out, err)
		}
	})

	t.Run("a shell reads commands", func(t *testing.T) {
		s := session(t)
		var out bytes.Buffer
		s.Stdin, s.Stdout = strings.NewReader("echo hello\nexit 5\n"), &out
		if err := s.Shell(); err != nil {
			t.Fatal(err)
		}
		err := s.Wait()
		if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.ExitStatus() != 5 || out.String() != "hello\n" {
			t.Errorf("got %q, %v", &out, err)
		}
	})

	t.Run("a signal reaches the command and is told as its end", func(t *testing.T) {
		s := session(t)
		running := openFIFO(t)
		if err := s.Start("exec 3>" + running.path + "; sleep 300 & wait"); err != nil {
			t.Fatal(err)
		}
		running.waitForStart(t)
		if err := s.Signal(ssh.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if exit, ok := errors.AsType[*ssh.ExitError](s.Wait()); !ok || exit.Signal() != "TERM" {
			t.Errorf("got %v, want the end by SIGTERM", exit)
		}
		running.waitForEnd(t)
	})

	t.Run("a session runs one command", func(t *testing.T) {
		s := session(t)
		if err := s.Start("cat"); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"true"})); ok || err != nil {
			t.Errorf("a second command: got %v, %v", ok, err)
		}
	})

	t.Run("what a Droplet does not offer is refused", func(t *testing.T) {
		if err := session(t).RequestSubsystem("sftp"); err == nil {
			t.Error("sftp accepted")
		}
	})

	t.Run("keepalives are answered", func(t *testing.T) {
		if ok, _, err := client.SendRequest("keepalive@openssh.com", true, nil); !ok || err != nil {
			t.Errorf("got %v, %v", ok, err)
		}
	})
}

// OpenSSH's MaxSessions is what a client that opens a session per request
// meets on a real Droplet.
func TestSessionsOfOneConnectionAreLimited(t *testing.T) {
	f := newFleet(t)
	client := mustDialSSH(t, f, boot(t, f))

	var sessions []*ssh.Session
	for range 10 {
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	if _, err := client.NewSession(); err == nil {
		t.Error("an eleventh session was granted")
	}
	if err := sessions[0].Run("true"); err != nil {
		t.Fatal(err)
	}
}

func TestJournal(t *testing.T) {
	f := newFleet(t)
	before := time.Now()
	client := connect(t, f, boot(t, f))
	run(t, client, "exit 42", "")
	run(t, client, "kill -KILL $$", "")

	running := openFIFO(t)
	raw := mustDialSSH(t, f, startSecond(t, f))
	s, err := raw.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("exec 3>" + running.path + "; sleep 300"); err != nil {
		t.Fatal(err)
	}
	running.waitForStart(t)

	sessions := f.Sessions()
	want := []guest.Session{
		{DropletID: 1, Name: "ci-1", User: "root", Command: "exit 42", ExitStatus: 42},
		{DropletID: 1, Name: "ci-1", User: "root", Command: "kill -KILL $$", ExitStatus: 128 + 9},
		{DropletID: 2, Name: "ci-2", User: "root", Command: "exec 3>" + running.path + "; sleep 300", ExitStatus: -1},
	}
	if diff := cmp.Diff(want, sessions, cmpopts.IgnoreFields(guest.Session{}, "Start", "End")); diff != "" {
		t.Fatalf("Sessions (-want +got):\n%s", diff)
	}
	for _, s := range sessions[:2] {
		if s.Start.Before(before) || s.End.Before(s.Start) {
			t.Errorf("%q ran from %v to %v", s.Command, s.Start, s.End)
		}
	}
	if !sessions[2].End.IsZero() {
		t.Errorf("a running command ended at %v", sessions[2].End)
	}
}

// No session leaves a process behind, however it ends.
func TestNothingOutlivesASession(t *testing.T) {
	tests := map[string]struct {
		command string
		end     func(*guest.Fleet, *ssh.Client, *ssh.Session)
	}{
		"the command ends": {
			command: "sleep 300 >/dev/null 2>&1 & echo started",
			end:     func(_ *guest.Fleet, _ *ssh.Client, s *ssh.Session) { _ = s.Wait() },
		},
		"the client closes the session": {
			command: "sleep 300 & wait",
			end:     func(_ *guest.Fleet, _ *ssh.Client, s *ssh.Session) { s.Close() },
		},
		"the client vanishes": {
			command: "sleep 300 & wait",
			end:     func(_ *guest.Fleet, c *ssh.Client, _ *ssh.Session) { c.Close() },
		},
		"the client does not read": {
			command: "cat /dev/zero",
			end:     func(_ *guest.Fleet, c *ssh.Client, _ *ssh.Session) { c.Close() },
		},
		"the command ignores signals": {
			command: "trap '' HUP INT TERM; sleep 300 & wait; sleep 300",
			end:     func(_ *guest.Fleet, _ *ssh.Client, s *ssh.Session) { s.Close() },
		},
		"the power is cut": {
			command: "sleep 300 & wait",
			end:     func(f *guest.Fleet, _ *ssh.Client, _ *ssh.Session) { f.Stop(1) },
		},
		"the power is cut while the output is not read": {
			command: "cat /dev/zero",
			end:     func(f *guest.Fleet, _ *ssh.Client, _ *ssh.Session) { f.Stop(1) },
		},
		"the fleet is closed": {
			command: "sleep 300 & wait",
			end:     func(f *guest.Fleet, _ *ssh.Client, _ *ssh.Session) { _ = f.Close() },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			client := mustDialSSH(t, f, boot(t, f))
			s, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.StdoutPipe(); err != nil { // that nobody reads
				t.Fatal(err)
			}
			running := openFIFO(t)
			if err := s.Start("exec 3>" + running.path + "; " + tt.command); err != nil {
				t.Fatal(err)
			}
			running.waitForStart(t)

			tt.end(f, client, s)

			running.waitForEnd(t)
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
	client := mustDialSSH(t, f, boot(t, f))
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	lifeline := openFIFO(t) // the escaped process ends when the test no longer reads it
	if err := s.Start("exec 3>" + lifeline.path + "; setsid sh -c 'echo escaped; while echo; do sleep 0.1; done >&3' & wait"); err != nil {
		t.Fatal(err)
	}
	lifeline.waitForStart(t)
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

func startSecond(t *testing.T, f *guest.Fleet) key {
	t.Helper()
	f.Stop(1) // both have the address that the tests dial
	k := newKey(t)
	start(t, f, guest.Spec{ID: 2, Name: "ci-2", Addrs: addrs(addr), AuthorizedKeys: []string{k.authorized}})
	return k
}
