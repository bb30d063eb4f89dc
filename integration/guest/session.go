package guest

import (
	"context"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// maxEnv bounds the variables that a client may set for its command.
const maxEnv = 128

// session is one session channel: it runs at most one command.
type session struct {
	guest *guest
	user  string
	ch    ssh.Channel
	env   []string

	command func(context.Context) // granted by start and not yet running
	started bool
	signals chan syscall.Signal // from the client to the command
	wg      sync.WaitGroup      // the command and the copying of its input
}

// exit is how a command ended.
type exit struct {
	status int
	signal string // what killed it, without SIG; "" when it ended by itself
}

// serveSession returns when the client closed the channel or its connection
// ended, and the command is gone.
func (g *guest) serveSession(user string, incoming ssh.NewChannel) {
	ch, requests, err := incoming.Accept()
	if err != nil {
		return
	}
	s := &session{guest: g, user: user, ch: ch, signals: make(chan syscall.Signal, 8)}

	// The channel of requests is closed with the SSH channel, whether the
	// client closed it, vanished, or the power was cut. The command goes then.
	ctx, cancel := context.WithCancel(context.Background())
	for r := range requests {
		ok := s.request(r)
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		// Only now: a command that ends at once closes the channel, and a client
		// that finds it closed before the reply takes the command for refused
		// (TestACommandEndsAfterItsReply).
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
		if ssh.Unmarshal(r.Payload, &m) != nil {
			return false
		}
		return s.start(m.Command)

	case "shell":
		return s.start("")

	case "env":
		var m struct{ Name, Value string }
		if ssh.Unmarshal(r.Payload, &m) != nil || m.Name == "" ||
			strings.ContainsAny(m.Name, "=\x00") || strings.Contains(m.Value, "\x00") || len(s.env) == maxEnv {
			return false
		}
		s.env = append(s.env, m.Name+"="+m.Value)
		return true

	case "signal":
		var m struct{ Name string }
		if ssh.Unmarshal(r.Payload, &m) != nil {
			return false
		}
		sig, ok := signalNumber(m.Name)
		if !ok {
			return false
		}
		select {
		case s.signals <- sig:
			return true
		default: // the command is not there to take them
			return false
		}

	case "pty-req", "window-change":
		return true // taken, and without effect: there is no terminal

	default:
		return false
	}
}

// start has the command run, or a shell that reads its commands from the client,
// and tells the client how it ended.
func (s *session) start(command string) bool {
	if s.started {
		return false
	}
	s.started = true

	s.command = func(ctx context.Context) {
		end := s.guest.journal.begin(Session{
			DropletID: s.guest.spec.ID,
			Name:      s.guest.spec.Name,
			User:      s.user,
			Command:   command,
		})

		var e exit
		switch {
		case command == "":
			e = s.runShell(ctx)
		case strings.Join(strings.Fields(command), " ") == "docker system dial-stdio":
			e = s.dialDocker(ctx)
		default:
			e = s.runShell(ctx, "-c", command)
		}

		end(e.status) // before the client knows, so that it finds it in the journal
		s.report(e)
	}

	return true
}

func (s *session) report(e exit) {
	_ = s.ch.CloseWrite()
	if e.signal != "" {
		_, _ = s.ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Signal     string
			CoreDumped bool
			Message    string
			Language   string
		}{Signal: e.signal}))
	} else {
		_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(e.status)}))
	}
	_ = s.ch.Close()
}
