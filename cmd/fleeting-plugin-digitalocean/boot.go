package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	fleeting "gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// How often it looks, and the bounds of a test Droplet's life.
const (
	lookEvery = time.Second
	leftEvery = 10 * time.Second // DigitalOcean lets SSH keys be listed 10 times a minute

	createBound  = 2 * time.Minute  // the plugin has a shorter one
	sshBound     = 10 * time.Minute // connector_config.timeout's default
	commandBound = 15 * time.Minute // the runner has none of its own
	destroyBound = 5 * time.Minute
	verifyBound  = 30 * time.Second
)

// bootReport is how long a test Droplet took. Its JSON form is stable.
type bootReport struct {
	Group       string     `json:"group"`
	Droplet     string     `json:"droplet,omitempty"`
	Size        string     `json:"size,omitempty"`
	Region      string     `json:"region,omitempty"`
	Steps       []bootStep `json:"steps"`
	GoneSeconds float64    `json:"gone_seconds,omitempty"` // from the end of the steps until it was gone
	Left        []string   `json:"left"`
}

// bootStep is one step of its life, each after the one before; create is the POST.
type bootStep struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`

	hint string // what to look at if it failed
}

// seconds is a duration to a hundredth of a second.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*100) / 100 }

// booting is one test Droplet: the plugin's own InstanceGroup is driven as the runner drives it, in a group of its own, of at
// most one Droplet.
//
// Invariant: whatever has been asked for is destroyed before doctor ends, whether a step failed or a person interrupts. Nothing
// else is: nobody else's Droplets can be in a group that is made for this boot. What a doctor leaves that is killed, the next
// one reports. (TestBoot)
type booting struct {
	t       *terminal
	subject doctor.Subject
	api     *digitalocean.Client
	report  *bootReport

	plugin provider.InstanceGroup
	info   fleeting.ConnectInfo // once the Droplet is active
	client *ssh.Client          // once somebody is let in
}

// bootOne makes a Droplet, measures it, and destroys it.
func bootOne(ctx context.Context, t *terminal, api *digitalocean.Client, s doctor.Subject, cost *doctor.Cost) (
	*bootReport, []doctor.Finding) {
	unheard() // the Droplet is to be destroyed
	name := doctor.NewBootName(s.Account.Name)
	b := &booting{t: t, subject: s, api: api, report: &bootReport{Group: config.BootGroup(name), Steps: []bootStep{}, Left: []string{}}}
	price := "at a price that is not known"
	if cost != nil && cost.IdleSize != "" {
		price = fmt.Sprintf("%s at %.5f USD an hour", cost.IdleSize, cost.IdleSizeUSDPerHour)
	}
	t.say("note", "making one Droplet, %s, in the group %s: "+
		"it is billed for 60 seconds or 0.01 USD at the least, and deleted whatever happens", price, b.report.Group)
	t.step("group %s: starting the plugin", b.report.Group)
	err := b.start(ctx, name)
	if err == nil {
		b.run(ctx)
		b.destroy(context.WithoutCancel(ctx))
	}
	b.verify(context.WithoutCancel(ctx))
	t.done()
	return b.report, b.findings(ctx, err)
}

// start is Init, as the runner calls it. name is the group's, as plugin_config would have it before its ending -doctor.
func (b *booting) start(ctx context.Context, name string) error {
	own := maps.Clone(b.subject.Runner.Autoscaler.PluginConfig)
	own["name"] = name
	data, err := json.Marshal(own)
	if err == nil {
		err = b.plugin.UnmarshalJSON(data)
	}
	if err != nil {
		return err
	}
	b.plugin.Boot()
	c := b.subject.Runner.Autoscaler.Connector
	connector := fleeting.ConnectorConfig{OS: c.OS, Arch: c.Arch, Protocol: fleeting.Protocol(c.Protocol), ProtocolPort: c.ProtocolPort,
		Username: c.Username, Keepalive: c.Keepalive, Timeout: c.Timeout}
	if c.KeyPath == "" {
		connector.Password, connector.UseStaticCredentials = c.Password, c.UseStaticCredentials
	}
	// Not to be cut off: what it has uploaded by then would stay.
	_, err = b.plugin.Init(context.WithoutCancel(ctx), newLog(b.t), fleeting.Settings{ConnectorConfig: connector})
	return err
}

// run takes the steps up to the first job, until one fails, and measures each.
func (b *booting) run(ctx context.Context) {
	a := b.subject.Runner.Autoscaler
	docker := ""
	if b.subject.Runner.Executor == "docker-autoscaler" {
		docker = "docker info"
	}
	for _, s := range []struct {
		name  string
		bound time.Duration
		do    func(context.Context) error // nil = it is not taken
		hint  string
	}{
		{"create", createBound, b.create, ""},
		{"active", b.subject.Config.CreateTimeout + time.Minute, b.active,
			"raise create_timeout if the image takes that long; else give DigitalOcean's support the Droplet's name"},
		{"SSH", cmp.Or(a.Connector.Timeout, sshBound), b.dial,
			"can this host reach the address (firewall, use_external_addr, ufw of the image)? " +
				"Does the image let username in with a key that DigitalOcean puts into root's authorized_keys?"},
		{"ready command", commandBound, b.command(a.InstanceReadyCommand),
			"make a Droplet by hand with this image and user_data, and run it there"},
		{"Docker", commandBound, b.command(docker), "is Docker in the image, or installed by user_data, and may username use it?"},
	} {
		if s.do == nil {
			continue
		}
		step := bootStep{Name: s.name, hint: s.hint}
		err := b.measure(ctx, &step, s.bound, s.do)
		b.report.Steps = append(b.report.Steps, step)
		if err != nil {
			break
		}
	}
	if b.client != nil {
		b.client.Close()
	}
}

// measure does one step within a bound, and takes its time.
func (b *booting) measure(ctx context.Context, step *bootStep, bound time.Duration, do func(context.Context) error) error {
	bounded, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("not within %s", bound))
	defer cancel()
	began := time.Now()
	err := ctx.Err() // interrupted before it began
	if err == nil {
		err = do(bounded)
	}
	if step.Seconds = seconds(time.Since(began)); err != nil {
		step.Error = err.Error()
	}
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
	for {
		states, err := b.look(ctx)
		for id, state := range states { // there is one
			b.report.Droplet = id
			switch state {
			case fleeting.StateRunning:
				found, _ := inventory.Look(ctx, b.api, b.report.Group) // without it the report is shorter
				for _, d := range found.Owned {
					b.report.Size, b.report.Region = d.Size, d.Region
				}
				b.info, err = b.plugin.ConnectInfo(ctx, id)
				return err
			case fleeting.StateDeleting, fleeting.StateDeleted:
				return errors.New("DigitalOcean accepted it, and it never became active")
			}
		}
		b.t.step("%s: waiting until it is active%s", cmp.Or(b.report.Droplet, "the Droplet"), because(err))
		if waited := pause(ctx, lookEvery); waited != nil {
			return fmt.Errorf("%w%s", waited, because(err))
		}
	}
}

// look asks the plugin for its instances.
func (b *booting) look(ctx context.Context) (map[string]fleeting.State, error) {
	states := map[string]fleeting.State{}
	err := b.plugin.Update(ctx, func(id string, state fleeting.State) { states[id] = state })
	return states, err
}

// destroy destroys all instances, waits until DigitalOcean shows them gone, and shuts the plugin down.
func (b *booting) destroy(ctx context.Context) {
	began := time.Now()
	bounded, cancel := context.WithTimeoutCause(ctx, destroyBound, fmt.Errorf("not within %s", destroyBound))
	defer cancel()
	for {
		states, err := b.look(bounded)
		maps.DeleteFunc(states, func(_ string, s fleeting.State) bool { return s == fleeting.StateDeleted })
		if err == nil && len(states) == 0 {
			b.report.GoneSeconds = seconds(time.Since(began))
			break
		}
		b.t.step("group %s: deleting the Droplet%s", b.report.Group, because(err))
		if _, derr := b.plugin.Decrease(bounded, slices.Sorted(maps.Keys(states))); derr != nil {
			err = cmp.Or(err, derr)
		}
		if waited := pause(bounded, lookEvery); waited != nil {
			b.t.say("warning", "the Droplet could not be deleted: %v%s", waited, because(err))
			break
		}
	}
	if err := b.plugin.Shutdown(ctx); err != nil {
		b.t.say("warning", "%v", err)
	}
}

// verify finds out what the account still has of the group. It looks twice, since lists lag behind. If that is nothing, it
// removes the last traces: the group's tag and its state file.
func (b *booting) verify(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, verifyBound)
	defer cancel()
	b.t.step("group %s: looking whether anything is left", b.report.Group)
	for look := range 2 {
		if look > 0 {
			_ = pause(ctx, leftEvery)
		}
		var now inventory.Account
		l, err := now.Find(ctx, b.api, b.report.Group, nil)
		b.report.Left = []string{}
		for _, x := range l.All {
			b.report.Left = append(b.report.Left, x.String())
		}
		for _, unread := range l.Unread {
			if !errors.Is(unread, instancegroup.ErrForbidden) { // else it would never be known; the scopes show it
				err = errors.Join(err, unread)
			}
		}
		if err != nil {
			b.report.Left = append(b.report.Left, fmt.Sprintf("what is left is not known: %v", err))
		}
		if len(b.report.Left) == 0 {
			_ = b.api.RemoveTag(ctx, instancegroup.GroupTag(b.report.Group)) // it costs nothing, and the token may not be allowed to
			state.Remove(b.subject.Account.APIURL, b.report.Group)           // nobody reads it again
			return
		}
	}
}

// findings is a test Droplet's life in words. unstarted is why the plugin did not start.
func (b *booting) findings(ctx context.Context, unstarted error) (found []doctor.Finding) {
	r := b.report
	add := func(level doctor.Level, hint, format string, args ...any) {
		found = append(found, doctor.Finding{Check: "boot", Level: level, Where: "group " + r.Group,
			What: fmt.Sprintf(format, args...), Hint: hint})
	}
	total, failed := 0.0, unstarted != nil
	for _, s := range r.Steps {
		total += s.Seconds
		failed = failed || s.Error != ""
		switch {
		case s.Error == "":
			add(doctor.OK, "", "%-13s %7.1f s", s.Name, s.Seconds)
		case ctx.Err() == nil:
			add(doctor.Fault, s.hint, "%s: %s, after %.1f s: %s", cmp.Or(r.Droplet, "no Droplet was made"), s.Name, s.Seconds, s.Error)
		}
	}
	switch {
	case ctx.Err() != nil:
		add(doctor.Warning, "", "interrupted, so it is not known whether jobs can run")
	case unstarted != nil:
		add(doctor.Fault, "", "the plugin does not start: %v", unstarted)
	case !failed:
		add(doctor.OK, "", "%s, %s in %s, could take a job %.1f s after it was asked for", r.Droplet, r.Size, r.Region, total)
	}
	if r.GoneSeconds > 0 {
		add(doctor.OK, "", "%-13s %7.1f s", "gone", r.GoneSeconds)
	}
	if len(r.Left) > 0 {
		add(doctor.Fault, b.subject.Sweep(r.Group), "this is left, and Droplets are billed: %s", strings.Join(r.Left, ", "))
	} else {
		add(doctor.OK, "", "nothing is left of it")
	}
	return found
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// pause waits; the error says why there is no more time.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
