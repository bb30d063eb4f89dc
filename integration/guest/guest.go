package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// outputLimit is how long output is waited for once the shell has ended: long enough for a client on a busy machine.
const outputLimit = 5 * time.Second

// guest is one powered-on Droplet.
type guest struct {
	name string
	dir  string   // "home" and "tmp" of its commands
	env  []string // all that its commands know of the world
	ssh  *ssh.ServerConfig
	log  func(format string, args ...any)

	power   context.Context // done when the power is cut
	cut     context.CancelFunc
	wg      sync.WaitGroup // every goroutine of the guest
	stopped sync.Once
}

// newGuest makes the guest's directory. The caller serves its listeners, and owes it a stop.
func (f *Fleet) newGuest(d dosim.Droplet, user string) (*guest, error) {
	g := &guest{name: d.Name, dir: filepath.Join(f.dir, strconv.Itoa(d.ID)), log: f.opt.Log}
	var err error
	if g.ssh, err = serverConfig(f.hostKey, user, d.AuthorizedKeys); err != nil {
		return nil, err
	}
	home, tmp := filepath.Join(g.dir, "home"), filepath.Join(g.dir, "tmp")
	if err := errors.Join(os.MkdirAll(home, 0o700), os.MkdirAll(tmp, 0o700)); err != nil {
		return nil, err
	}
	// Nothing is taken from the host's environment, which may hold secrets.
	g.env = []string{
		"PATH=" + filepath.Join(f.dir, "bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + home, "TMPDIR=" + tmp, "USER=" + user, "LOGNAME=" + user, "HOSTNAME=" + d.Name, "SHELL=/bin/sh",
	}
	if f.opt.Docker != nil {
		g.env = append(g.env, f.opt.Docker.env()...)
	}
	g.power, g.cut = context.WithCancel(context.Background())
	return g, nil
}

// serverConfig accepts the user with exactly these keys. There is no password to guess: a Droplet that is created with
// keys has none.
func serverConfig(hostKey ssh.Signer, user string, keys []string) (*ssh.ServerConfig, error) {
	accepted := map[string]bool{}
	for _, text := range keys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%q is not an OpenSSH public key: %w", text, err)
		}
		accepted[string(key.Marshal())] = true
	}
	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-simulated-droplet",
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if c.User() != user || !accepted[string(key.Marshal())] {
				return nil, fmt.Errorf("%q may not log in with key %s", c.User(), ssh.FingerprintSHA256(key))
			}
			return nil, nil
		},
	}
	config.AddHostKey(hostKey)
	return config, nil
}

// serve owns l. It accepts nothing before the guest has booted: until then the kernel completes the connections and holds
// them in the listener's queue, which costs no goroutine and resets them if the power is cut.
func (g *guest) serve(l net.Listener, boot time.Duration) {
	defer context.AfterFunc(g.power, func() { l.Close() })()
	defer l.Close()
	booted := time.NewTimer(boot)
	defer booted.Stop()
	select {
	case <-booted.C:
	case <-g.power.Done():
		return
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			if g.power.Err() == nil {
				g.log("guest %s: accepting a connection: %v", g.name, err)
			}
			return
		}
		g.wg.Go(func() { g.handle(conn) })
	}
}

// stop cuts the power and waits until nothing of the guest is left.
func (g *guest) stop() {
	g.stopped.Do(func() {
		g.cut()
		g.wg.Wait()
		if err := os.RemoveAll(g.dir); err != nil {
			g.log("guest %s: removing its directory: %v", g.name, err)
		}
	})
}

// handle owns conn, and returns once the connection and all it carried ended.
func (g *guest) handle(conn net.Conn) {
	defer context.AfterFunc(g.power, func() { conn.Close() })()
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, g.ssh)
	if err != nil {
		if g.power.Err() == nil {
			g.log("guest %s: login from %v failed: %v", g.name, conn.RemoteAddr(), err)
		}
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for r := range requests { // keepalives; and what is refused, such as listening on the client's behalf
			if r.WantReply {
				_ = r.Reply(r.Type == "keepalive@openssh.com", nil)
			}
		}
	})
	for ch := range channels {
		if ch.ChannelType() == "session" {
			wg.Go(func() { g.session(ch) })
		} else {
			_ = ch.Reject(ssh.UnknownChannelType, "a simulated Droplet has no "+ch.ChannelType())
		}
	}
}

// session runs at most one command. It returns when the client closed the channel or its connection ended, and the
// command is gone.
func (g *guest) session(incoming ssh.NewChannel) {
	ch, requests, err := incoming.Accept()
	if err != nil {
		return
	}
	var wg sync.WaitGroup // the command and the copying of its input
	started := false
	// The channel of requests is closed with the SSH channel, whether the client closed it, vanished, or the power was
	// cut. The command goes then.
	ctx, cancel := context.WithCancel(context.Background())
	for r := range requests {
		var exec struct{ Command string }
		ok := r.Type == "exec" && ssh.Unmarshal(r.Payload, &exec) == nil && !started
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		// Only now: a command that ends at once closes the channel, and a client that finds it closed before the reply
		// takes the command for refused.
		if ok {
			started = true
			wg.Go(func() {
				status := g.shell(ctx, &wg, ch, exec.Command)
				_ = ch.CloseWrite()
				_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
				_ = ch.Close()
			})
		}
	}
	cancel()
	wg.Wait()
	_ = ch.Close()
}

// shell runs a command between the channel's streams, until it has ended and its output is sent, or until ctx is done.
// Its process group does not outlive it, so that a simulation leaves nothing behind. What left the group may hold its
// output open: that is given up after outputLimit.
func (g *guest) shell(ctx context.Context, wg *sync.WaitGroup, ch ssh.Channel, command string) (status int) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir, cmd.Env = filepath.Join(g.dir, "home"), g.env
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	killGroup := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel, cmd.WaitDelay = killGroup, outputLimit
	// A pipe of our own, so that Wait does not wait for the end of the client's input.
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		g.log("guest %s: starting a command: %v", g.name, err)
		return 126 // as a shell says that it found a command and could not run it
	}
	wg.Go(func() {
		_, _ = io.Copy(stdin, ch)
		_ = stdin.Close()
	})
	_ = cmd.Wait()  // the status says all
	_ = killGroup() // nothing may be left to kill
	// Of one that was killed it is what a shell would make of it.
	if end, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && end.Signaled() {
		return 128 + int(end.Signal())
	}
	return cmd.ProcessState.ExitCode()
}
