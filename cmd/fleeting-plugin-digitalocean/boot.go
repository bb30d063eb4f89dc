package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	fleeting "gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// booting is one test Droplet: the plugin's own InstanceGroup, driven as the runner drives it, in a group of this boot's own.
//
// Invariant: whatever was asked for is destroyed before doctor ends, also after a failure or a signal; nothing else is. (TestBoot)
type booting struct {
	t     *terminal
	api   *digitalocean.Client
	found *diagnosis // where it says how it goes
	name  string     // of the group, without the ending of a boot's
	group string

	plugin  provider.InstanceGroup
	started bool
	droplet string
	info    fleeting.ConnectInfo // once the Droplet is active
	client  *ssh.Client          // once somebody is let in
}

// boot makes a Droplet, measures how long it takes until a job can run there, and destroys it. The error says that it was
// ended before.
func boot(ctx context.Context, t *terminal, api *digitalocean.Client, found *diagnosis) error {
	ctx, stop := finishing(ctx)
	defer stop()
	name := doctor.NewBootName(found.subject.Account.Name)
	b := &booting{t: t, api: api, found: found, name: name, group: config.BootGroup(name)}
	t.say("note", "making one Droplet, in the group %s: it costs 0.01 USD at the least, and is deleted whatever happens", b.group)
	b.take(ctx)
	if b.started {
		b.destroy(context.WithoutCancel(ctx))
	}
	return context.Cause(ctx)
}

// say adds a finding.
func (b *booting) say(level doctor.Level, hint, format string, args ...any) {
	b.t.done()
	what := fmt.Sprintf(format, args...)
	b.found.add(b.t, doctor.Finding{Check: "boot", Level: level, Where: "group " + b.group, What: what, Hint: hint})
}

const took = "%-13s %7.1f s"

// take takes the steps up to the first job, until one fails, and measures each.
func (b *booting) take(ctx context.Context) {
	a, docker := b.found.subject.Runner.Autoscaler, ""
	if b.found.subject.Runner.Executor == "docker-autoscaler" {
		docker = "docker info"
	}
	const commandBound = 15 * time.Minute // the runner has none of its own
	total := 0.0
	for _, s := range []struct {
		name  string
		bound time.Duration
		do    func(context.Context) error // nil = it is not taken
		hint  string
	}{
		{"plugin", time.Minute, b.start, b.found.subject.RemoveOrphans(b.group)},
		{"create", 2 * time.Minute, b.create, ""}, // the plugin's own bounds are shorter
		{"active", b.found.subject.Config.CreateTimeout + time.Minute, b.active,
			"raise create_timeout if the image takes that long; else give DigitalOcean's support the Droplet's name"},
		{"SSH", cmp.Or(a.Connector.Timeout, 10*time.Minute), b.dial,
			"can this host reach the address (firewall, use_external_addr, ufw of the image)? " +
				"Does the image let username in with a key that DigitalOcean puts into root's authorized_keys?"},
		{"ready command", commandBound, b.command(a.InstanceReadyCommand),
			"make a Droplet by hand with this image and user_data, and run it there"},
		{"Docker", commandBound, b.command(docker), "is Docker in the image, or installed by user_data, and may username use it?"},
	} {
		if s.do == nil {
			continue
		}
		bounded, cancel := context.WithTimeoutCause(ctx, s.bound, fmt.Errorf("not within %s", s.bound))
		began := time.Now()
		err := s.do(bounded)
		seconds := time.Since(began).Seconds()
		cancel()
		if ctx.Err() != nil {
			return // what failed of that is no finding
		} else if err != nil {
			b.say(doctor.Fault, s.hint, "%s: %s, after %.1f s: %v", cmp.Or(b.droplet, "no Droplet was made"), s.name, seconds, err)
			return
		}
		b.say(doctor.OK, "", took, s.name, seconds)
		total += seconds
	}
	b.say(doctor.OK, "", "%s could take a job %.1f s after the plugin was started", b.droplet, total)
}

// start is Init, as the runner calls it. It is not cut off: what it has uploaded by then would stay.
func (b *booting) start(ctx context.Context) error {
	own := maps.Clone(b.found.subject.Runner.Autoscaler.PluginConfig)
	own["name"] = b.name
	data, _ := json.Marshal(own)     // which has been accepted,
	_ = b.plugin.UnmarshalJSON(data) // and what has not Init refuses
	b.plugin.Boot()
	connector := b.found.subject.Runner.Autoscaler.Connector.Fleeting()
	_, err := b.plugin.Init(context.WithoutCancel(ctx), newLog(b.t), fleeting.Settings{ConnectorConfig: connector})
	b.started = err == nil
	return err
}

// create asks for the Droplet. It is not cut off: an answer that is lost has to be settled by lists for a minute.
func (b *booting) create(ctx context.Context) error {
	n, err := b.plugin.Increase(context.WithoutCancel(ctx), 1)
	if err == nil && n == 0 {
		err = errors.New("none was asked for: the token's requests are used up")
	}
	return err
}

// active waits until the plugin shows the Droplet as running, or gives it up after create_timeout.
func (b *booting) active(ctx context.Context) error {
	return b.until(ctx, "waiting until the Droplet is active", func() (bool, error) {
		states, err := b.look(ctx)
		for id, state := range states { // there is one
			b.droplet = id
			switch state {
			case fleeting.StateRunning:
				b.info, err = b.plugin.ConnectInfo(ctx, id)
				return true, err
			case fleeting.StateDeleting, fleeting.StateDeleted:
				return true, errors.New("DigitalOcean accepted it, and it never became active")
			}
		}
		return false, err
	})
}

// look asks the plugin for its instances.
func (b *booting) look(ctx context.Context) (map[string]fleeting.State, error) {
	states := map[string]fleeting.State{}
	err := b.plugin.Update(ctx, func(id string, state fleeting.State) { states[id] = state })
	return states, err
}

// until tries until it is done, or there is no more time. It says what it waits for, and what went wrong last.
func (b *booting) until(ctx context.Context, what string, try func() (done bool, err error)) error {
	for {
		done, err := try()
		if done {
			return err
		}
		now := what
		if err != nil {
			now += ": " + err.Error()
		}
		b.t.waits("group %s: %s", b.group, now)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), now)
		}
	}
}

// dial logs in as the runner does, as soon as that is possible. Not with fleeting's connector, which would bring WinRM and
// Kerberos into the plugin.
func (b *booting) dial(ctx context.Context) error {
	info, host := b.info, b.info.InternalAddr
	if b.found.subject.Runner.Autoscaler.Connector.UseExternalAddr && info.ExternalAddr != "" {
		host = info.ExternalAddr
	}
	if host == "" {
		return errors.New("it has no address to dial, with use_external_addr as it is")
	}
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
	address := net.JoinHostPort(host, strconv.Itoa(info.ProtocolPort))
	return b.until(ctx, "waiting for SSH on "+address+" as "+info.Username, func() (bool, error) {
		const bound = 10 * time.Second // with handshake and login
		conn, err := net.DialTimeout("tcp", address, bound)
		if err != nil {
			return false, err
		}
		_ = conn.SetDeadline(time.Now().Add(bound))
		c, channels, requests, err := ssh.NewClientConn(conn, address, config)
		if err != nil {
			conn.Close()
			return false, err
		}
		_ = conn.SetDeadline(time.Time{})
		b.client = ssh.NewClient(c, channels, requests)
		return true, nil
	})
}

// command returns a step that runs a command, nil without one. The error of one that fails ends in what it wrote last.
func (b *booting) command(command string) func(context.Context) error {
	if command == "" {
		return nil
	}
	return func(ctx context.Context) error {
		b.t.waits("group %s: %s", b.group, command)
		session, err := b.client.NewSession()
		if err != nil {
			return err
		}
		defer session.Close()
		stop := context.AfterFunc(ctx, func() { b.client.Close() })
		out, err := session.CombinedOutput(command)
		if !stop() {
			err = context.Cause(ctx)
		}
		if err == nil {
			return nil
		}
		last := strings.ToValidUTF8(string(out[max(0, len(out)-400):]), "")
		return fmt.Errorf("%s: %w: %s", command, err, cmp.Or(strings.Join(strings.Fields(last), " "), "it wrote nothing"))
	}
}

// destroy destroys all instances, waits until DigitalOcean shows them gone, and shuts the plugin down, which removes its key. If
// that is all, it removes the last traces too: the group's tag and its state file.
func (b *booting) destroy(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	began := time.Now()
	left := b.until(bounded, "deleting the Droplet "+b.droplet, func() (bool, error) {
		states, err := b.look(bounded)
		maps.DeleteFunc(states, func(_ string, s fleeting.State) bool { return s == fleeting.StateDeleted })
		if err == nil && len(states) == 0 {
			return true, nil
		}
		_, derr := b.plugin.Decrease(bounded, slices.Sorted(maps.Keys(states)))
		return false, cmp.Or(err, derr)
	})
	if left = errors.Join(left, b.plugin.Shutdown(ctx)); left != nil {
		b.say(doctor.Fault, b.found.subject.RemoveOrphans(b.group), "something is left, and Droplets are billed: %v", left)
		return
	}
	b.say(doctor.OK, "", took, "gone", time.Since(began).Seconds())
	_ = b.api.RemoveTag(bounded, instancegroup.GroupTag(b.group)) // it costs nothing, and the token may not be allowed to
	state.Remove(b.found.subject.Account.APIURL, b.group)         // nobody reads it again
	b.say(doctor.OK, "", "nothing is left of it")
}
