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
		var exec struct{ Command string }
		ok := r.Type == "exec" && ssh.Unmarshal(r.Payload, &exec) == nil && !s.started
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		// Only now: a command that ends at once closes the channel, and a client
		// that finds it closed before the reply takes the command for refused.
		if ok {
			s.started = true
			s.wg.Go(func() { s.run(ctx, exec.Command) })
		}
	}
	cancel()
	s.wg.Wait()
	_ = ch.Close()
}

// run runs the command, and tells the client how it ended.
func (s *session) run(ctx context.Context, command string) {
	status := s.runShell(ctx, command)
	_ = s.ch.CloseWrite()
	_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	_ = s.ch.Close()
}
