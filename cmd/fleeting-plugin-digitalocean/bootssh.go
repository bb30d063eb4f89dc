package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	dialBound = 10 * time.Second // of one attempt, handshake and login included
	dialPause = 2 * time.Second  // between attempts: not more than the runner makes itself
)

// dial logs in as the runner does, as soon as that is possible. Not with fleeting's connector, which would bring WinRM and
// Kerberos into the plugin.
func (b *booting) dial(ctx context.Context) error {
	info, host := b.info, b.info.InternalAddr
	if b.subject.Runner.Autoscaler.Connector.UseExternalAddr && info.ExternalAddr != "" {
		host = info.ExternalAddr
	}
	if host == "" {
		return errors.New("it has no address to dial, with use_external_addr as it is")
	}
	address := net.JoinHostPort(host, strconv.Itoa(info.ProtocolPort))
	config := &ssh.ClientConfig{
		User:            info.Username,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // like the runner; see docs/security.md
		Auth:            []ssh.AuthMethod{ssh.Password(info.Password)},
	}
	if info.Key != nil {
		signer, err := ssh.ParsePrivateKey(info.Key)
		if err != nil {
			return err
		}
		config.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
	}
	for {
		var err error
		if b.client, err = dialOnce(ctx, address, config); err == nil {
			return nil
		}
		b.t.step("%s: waiting for SSH on %s as %s: %v", b.report.Droplet, address, info.Username, err)
		if waited := pause(ctx, dialPause); waited != nil {
			return fmt.Errorf("%s as %s, %w: %w", address, info.Username, waited, err)
		}
	}
}

func dialOnce(ctx context.Context, address string, config *ssh.ClientConfig) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialBound)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // ends a handshake that hangs
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if !stop() || err != nil {
		conn.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	return ssh.NewClient(c, channels, requests), nil
}

// command returns a step that runs a command, nil without one. The error of one that fails ends in what it wrote last.
func (b *booting) command(command string) func(context.Context) error {
	if command == "" {
		return nil
	}
	return func(ctx context.Context) error {
		b.t.step("%s: %s", b.report.Droplet, command)
		session, err := b.client.NewSession()
		if err != nil {
			return err
		}
		defer session.Close()
		stop := context.AfterFunc(ctx, func() { b.client.Close() })
		var out, complaint tail
		session.Stdout, session.Stderr = &out, &complaint
		err = session.Run(command)
		if !stop() {
			err = context.Cause(ctx)
		}
		if err == nil {
			return nil
		}
		last := strings.Join(strings.Fields(strings.ToValidUTF8(string(out)+" "+string(complaint), "")), " ")
		return fmt.Errorf("%s: %w: %s", command, err, cmp.Or(last, "it wrote nothing"))
	}
}

// tail keeps the last bytes of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	const most = 400
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-most):]
	return len(p), nil
}
