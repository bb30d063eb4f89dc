package guest

import (
	"context"
	"fmt"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
)

// serverConfig accepts the spec's user with exactly the spec's keys. There is
// no password to guess: a Droplet that is created with keys has none.
func serverConfig(hostKey ssh.Signer, spec Spec) (*ssh.ServerConfig, error) {
	accepted := make(map[string]bool, len(spec.AuthorizedKeys))
	for i, text := range spec.AuthorizedKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("authorized key %d is not an OpenSSH public key (%q): %w", i+1, text, err)
		}
		accepted[string(key.Marshal())] = true
	}

	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-simulated-droplet",
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			switch {
			case c.User() != spec.User:
				return nil, fmt.Errorf("user %q may not log in, only %q may", c.User(), spec.User)
			case !accepted[string(key.Marshal())]:
				return nil, fmt.Errorf("the Droplet was not created with key %s", ssh.FingerprintSHA256(key))
			}
			return nil, nil
		},
	}
	config.AddHostKey(hostKey)

	return config, nil
}

// handle owns conn, and returns once the connection and all it carried ended.
func (g *guest) handle(conn net.Conn) {
	defer context.AfterFunc(g.power, func() { conn.Close() })()
	defer conn.Close()

	_, channels, requests, err := ssh.NewServerConn(conn, g.ssh)
	if err != nil {
		if g.power.Err() == nil {
			g.log("guest %s: login from %v failed: %v", g.spec.Name, conn.RemoteAddr(), err)
		}
		return
	}

	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { answerGlobal(requests) })
	for ch := range channels {
		if ch.ChannelType() == "session" {
			wg.Go(func() { g.serveSession(ch) })
		} else {
			_ = ch.Reject(ssh.UnknownChannelType, "a simulated Droplet has no "+ch.ChannelType())
		}
	}
}

// answerGlobal answers the client's keepalives and refuses the rest, such as
// listening on the client's behalf.
func answerGlobal(requests <-chan *ssh.Request) {
	for r := range requests {
		if r.WantReply {
			_ = r.Reply(r.Type == "keepalive@openssh.com", nil)
		}
	}
}
