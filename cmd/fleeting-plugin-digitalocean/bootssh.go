package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	fleeting "gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"golang.org/x/crypto/ssh"
)

const (
	dialBound = 10 * time.Second // of one attempt, handshake and login included
	dialPause = 2 * time.Second  // between attempts: not more than the runner makes itself
)

// connect does over SSH what the runner does before the first job. Not with fleeting's connector, which would bring WinRM and
// Kerberos into the plugin.
func (b *booting) connect(ctx context.Context, info fleeting.ConnectInfo) error {
	a, bounds := b.subject.Runner.Autoscaler, boundsOf(b.subject)
	address := info.InternalAddr
	if a.Connector.UseExternalAddr && info.ExternalAddr != "" {
		address = info.ExternalAddr
	}
	if address == "" {
		return stepError{"SSH", errors.New("it has no address to dial, with use_external_addr as it is")}
	}
	var client *ssh.Client
	if err := b.measure(ctx, "SSH", bounds.ssh, func(ctx context.Context) (err error) {
		client, err = b.dial(ctx, net.JoinHostPort(address, strconv.Itoa(info.ProtocolPort)), info)
		return err
	}); err != nil {
		return err
	}
	defer client.Close()
	for _, c := range []struct {
		step, command string
		bound         time.Duration
	}{{"ready command", a.InstanceReadyCommand, bounds.ready}, {"Docker", "docker info", bounds.docker}} {
		if err := b.measure(ctx, c.step, c.bound, func(ctx context.Context) error {
			b.step("%s: %s", b.report.Droplet, c.command)
			return runOver(ctx, client, c.command)
		}); err != nil {
			return err
		}
	}
	return nil
}

// dial logs in, as soon as that is possible.
func (b *booting) dial(ctx context.Context, address string, info fleeting.ConnectInfo) (*ssh.Client, error) {
	config := &ssh.ClientConfig{
		User:            info.Username,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // like the runner; see docs/security.md
		Auth:            []ssh.AuthMethod{ssh.Password(info.Password)},
	}
	if info.Key != nil {
		signer, err := ssh.ParsePrivateKey(info.Key)
		if err != nil {
			return nil, err
		}
		config.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
	}
	var last error
	for {
		client, err := dialOnce(ctx, address, config)
		if err == nil {
			return client, nil
		}
		// An attempt that was cut off at the end says only that. The dialer notices the deadline before the context does.
		deadline, ok := ctx.Deadline()
		if timedOut := ctx.Err() != nil || ok && !time.Now().Before(deadline); !timedOut || last == nil {
			last = err
		}
		b.step("%s: waiting for SSH on %s as %s: %v", b.report.Droplet, address, info.Username, last)
		if pause(ctx, dialPause) != nil {
			return nil, fmt.Errorf("%s as %s, %w%s", address, info.Username, context.Cause(ctx), because(last))
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

// runOver runs a command; the error of one that fails ends in what it wrote last.
func runOver(ctx context.Context, client *ssh.Client, command string) error {
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	stop := context.AfterFunc(ctx, func() { client.Close() })
	var out, complaint tail
	session.Stdout, session.Stderr = &out, &complaint
	err = session.Run(command)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	last := strings.Fields(strings.ToValidUTF8(string(out)+" "+string(complaint), ""))
	if len(last) == 0 {
		return fmt.Errorf("%s: %w", command, err)
	}
	return fmt.Errorf("%s: %w: %s", command, err, strings.Join(last, " "))
}

// tail keeps the last bytes of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	const most = 400
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-most):]
	return len(p), nil
}
