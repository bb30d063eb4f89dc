package guest

import (
	"context"
	"sync"

	"golang.org/x/crypto/ssh"
)

// session is one session channel: it runs at most one command.
type session struct {
	guest *guest
	ch    ssh.Channel

	command func(context.Context) // granted by start and not yet running
	started bool
	wg      sync.WaitGroup // the command and the copying of its input
}

// serveSession returns when the client closed the channel or its connection
// ended, and the command is gone.
func (g *guest) serveSession(incoming ssh.NewChannel) {
	ch, requests, err := incoming.Accept()
	if err != nil {
		return
	}
	s := &session{guest: g, ch: ch}

	// The channel of requests is closed with the SSH channel, whether the
	// client closed it, vanished, or the power was cut. The command goes then.
	ctx, cancel := context.WithCancel(context.Background())
	for r := range requests {
		ok := s.request(r)
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		// Only now: a command that ends at once closes the channel, and a client
		// that finds it closed before the reply takes the command for refused.
		if command := s.command; command != nil {
			s.command = nil
			s.wg.Go(func() { command(ctx) })
		}
	}
	cancel()
	s.wg.Wait()
	_ = ch.Close()
}

// request answers one request of RFC 4254, section 6.
func (s *session) request(r *ssh.Request) (ok bool) {
	switch r.Type {
	case "exec":
		var m struct{ Command string }
		return ssh.Unmarshal(r.Payload, &m) == nil && s.start("-c", m.Command)
	case "shell": // reads its commands from the client
		return s.start()
	case "pty-req", "window-change":
		return true // taken, and without effect: there is no terminal
	}
	return false
}

// start has a shell run, and tells the client how it ended.
func (s *session) start(args ...string) bool {
	if s.started {
		return false
	}
	s.started = true
	s.command = func(ctx context.Context) {
		status := s.runShell(ctx, args...)
		_ = s.ch.CloseWrite()
		_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
		_ = s.ch.Close()
	}
	return true
}
