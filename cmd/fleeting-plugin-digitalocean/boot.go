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
	"time"

	fleeting "gitlab.com/gitlab-org/fleeting/fleeting/provider"

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

	createBound  = 90 * time.Second
	activeBound  = 15 * time.Minute
	sshBound     = 10 * time.Minute // connector_config.timeout's default
	readyBound   = 15 * time.Minute // the runner has none of its own
	dockerBound  = time.Minute
	destroyBound = 5 * time.Minute
	leftBound    = 12 * time.Second // lists lag behind
	pluginBound  = 80 * time.Second // what has bounds of its own: Init, one Increase, ConnectInfo, Shutdown
)

// boundsOf are how long each step may take; 0 = it is not made.
func boundsOf(s doctor.Subject) (b struct{ create, active, ssh, ready, docker time.Duration }) {
	a := s.Runner.Autoscaler
	b.create, b.active, b.ssh = createBound, min(activeBound, s.Config.CreateTimeout+30*time.Second), sshBound
	if a.Connector.Timeout > 0 {
		b.ssh = min(b.ssh, a.Connector.Timeout)
	}
	if a.InstanceReadyCommand != "" {
		b.ready = readyBound
	}
	if s.Runner.Executor == "docker-autoscaler" {
		b.docker = dockerBound
	}
	return b
}

// longest is how many minutes a boot takes if every step ends just in time.
func longest(s doctor.Subject) int {
	b := boundsOf(s)
	return int(math.Ceil((pluginBound + b.create + b.active + b.ssh + b.ready + b.docker + destroyBound + leftBound).Minutes()))
}

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
	name    string // of the group, of which plugin_config's name would be the part before -doctor
	plugin  provider.InstanceGroup
	started bool // Init succeeded
	report  *bootReport
	began   time.Time // the create
}

// bootOne makes a Droplet, measures it, and destroys it.
func bootOne(ctx context.Context, t *terminal, api *digitalocean.Client, s doctor.Subject, cost *doctor.Cost) (*bootReport, []doctor.Finding) {
	unheard() // the Droplet is to be destroyed
	name := doctor.NewBootName(s.Account.Name)
	b := &booting{t: t, subject: s, api: api, name: name, report: &bootReport{Group: config.BootGroup(name), Steps: []bootStep{}, Left: []string{}}}
	price := "at a price that is not known"
	if cost != nil && cost.IdleSize != "" {
		price = fmt.Sprintf("%s at %.5f USD an hour", cost.IdleSize, cost.IdleSizeUSDPerHour)
	}
	t.say("note", "making one Droplet, %s, in the group %s: it is billed for 60 seconds or 0.01 USD at the least, and deleted whatever happens; "+
		"all of it takes %d minutes at most", price, b.report.Group, longest(s))
	err := b.run(ctx)
	b.clean(context.WithoutCancel(ctx))
	t.done()
	return b.report, b.findings(ctx, err)
}

// run is everything up to the first job.
func (b *booting) run(ctx context.Context) error {
	b.step("group %s: starting the plugin", b.report.Group)
	if err := b.start(ctx); err != nil {
		return stepError{"start", err}
	}
	bounds := boundsOf(b.subject)
	b.began = time.Now()
	var id string
	err := b.measure(ctx, "create", bounds.create, b.create)
	if err == nil {
		err = b.measure(ctx, "active", bounds.active, func(ctx context.Context) (err error) { id, err = b.active(ctx); return err })
	}
	if err != nil {
		return err
	}
	info, err := b.plugin.ConnectInfo(ctx, id)
	if err != nil {
		return stepError{"SSH", err}
	}
	return b.connect(ctx, info)
}

// start is Init, as the runner calls it.
func (b *booting) start(ctx context.Context) error {
	own := maps.Clone(b.subject.Runner.Autoscaler.PluginConfig)
	own["name"] = b.name
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
	b.started = err == nil
	return cmp.Or(err, ctx.Err())
}

// create asks for the Droplet until the plugin accepts that. It is not cut off: an answer that is lost has to be settled by
// lists for a minute.
func (b *booting) create(ctx context.Context) error {
	for {
		b.began = time.Now()
		n, err := b.plugin.Increase(context.WithoutCancel(ctx), 1)
		if err != nil || n > 0 {
			return cmp.Or(err, ctx.Err())
		}
		const spent = "the token's requests are used up"
		b.t.step("group %s: waiting: %s", b.report.Group, spent)
		if pause(ctx, lookEvery) != nil {
			return errors.New("none was asked for: " + spent)
		}
	}
}

// active waits until the plugin shows the Droplet as running.
func (b *booting) active(ctx context.Context) (string, error) {
	for {
		states, err := b.look(ctx)
		for _, id := range slices.Sorted(maps.Keys(states)) {
			b.report.Droplet = id
			switch states[id] {
			case fleeting.StateRunning:
				b.identify(ctx)
				return id, nil
			case fleeting.StateDeleting, fleeting.StateDeleted:
				return "", errors.New("DigitalOcean accepted it, and it never became active")
			}
		}
		b.step("%s: waiting until it is active%s", cmp.Or(b.report.Droplet, "the Droplet"), because(err))
		if pause(ctx, lookEvery) != nil {
			return "", fmt.Errorf("%w%s", context.Cause(ctx), because(err))
		}
	}
}

// identify adds to the report what the Droplet is.
func (b *booting) identify(ctx context.Context) {
	found, _ := inventory.Look(ctx, b.api, b.report.Group) // without it the report is shorter
	for _, d := range found.Owned {
		b.report.Size, b.report.Region, b.report.USDPerHour = d.Size, d.Region, d.PriceHourly
	}
}

// look asks the plugin for its instances.
func (b *booting) look(ctx context.Context) (map[string]fleeting.State, error) {
	states := map[string]fleeting.State{}
	err := b.plugin.Update(ctx, func(id string, state fleeting.State) { states[id] = state })
	return states, err
}

// clean destroys whatever there is, and finds out whether anything is left.
func (b *booting) clean(ctx context.Context) {
	began := time.Now()
	if b.started {
		if err := b.destroy(ctx); err != nil {
			b.t.say("warning", "the Droplet could not be deleted: %v", err)
		} else if b.report.Droplet != "" {
			b.report.GoneSeconds = seconds(time.Since(began))
		}
		if err := b.plugin.Shutdown(ctx); err != nil {
			b.t.say("warning", "%v", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, leftBound)
	defer cancel()
	b.step("group %s: looking whether anything is left", b.report.Group)
	for {
		var err error
		if b.report.Left, err = b.left(ctx); err == nil && len(b.report.Left) == 0 {
			break
		}
		if pause(ctx, leftEvery) != nil {
			if err != nil {
				b.report.Left = append(b.report.Left, fmt.Sprintf("what is left is not known: %v", err))
			}
			return
		}
	}
	// The last traces. They cost nothing, and the token may not be allowed to remove tags.
	if err := b.api.RemoveTag(ctx, instancegroup.GroupTag(b.report.Group)); err != nil && !errors.Is(err, instancegroup.ErrNotFound) {
		b.t.say("note", "the tag %s stays, which costs nothing: %v", instancegroup.GroupTag(b.report.Group), err)
	}
	if err := state.Remove(ctx, b.subject.Account.APIURL, b.report.Group); err != nil {
		b.t.say("note", "%v", err)
	}
}

// destroy destroys all instances, and waits until DigitalOcean shows them gone.
func (b *booting) destroy(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, destroyBound, fmt.Errorf("not within %s", destroyBound))
	defer cancel()
	for {
		states, err := b.look(ctx)
		maps.DeleteFunc(states, func(_ string, s fleeting.State) bool { return s == fleeting.StateDeleted })
		if err == nil && len(states) == 0 {
			return nil
		}
		b.step("group %s: deleting the Droplet%s", b.report.Group, because(err))
		if _, derr := b.plugin.Decrease(ctx, slices.Sorted(maps.Keys(states))); derr != nil {
			err = cmp.Or(err, derr)
		}
		if pause(ctx, lookEvery) != nil {
			return fmt.Errorf("%w%s", context.Cause(ctx), because(err))
		}
	}
}

// left returns what the account still has of the group. Keys and tags it removes, where the plugin did not.
func (b *booting) left(ctx context.Context) ([]string, error) {
	left := []string{}
	var now inventory.Account
	l, err := now.Find(ctx, b.api, b.report.Group, nil)
	for _, unread := range l.Unread {
		if !errors.Is(unread, instancegroup.ErrForbidden) { // else it would never be known; the scopes show it
			err = errors.Join(err, unread)
		}
	}
	for _, x := range l.All {
		if x.Kind == inventory.DropletKind || x.Remove(ctx, b.api) != nil {
			left = append(left, x.String())
		}
	}
	return left, err
}

// stepError is why a step failed.
type stepError struct {
	step string
	error
}

func (e stepError) Unwrap() error { return e.error }

// measure does one step within a bound, and takes its time.
func (b *booting) measure(ctx context.Context, name string, bound time.Duration, do func(context.Context) error) error {
	if bound == 0 {
		return nil
	}
	bounded, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("not within %s", bound))
	defer cancel()
	began := time.Now()
	err := do(bounded)
	if began.Before(b.began) { // it had to wait before it could begin
		began = b.began
	}
	s := bootStep{Name: name, BeganSeconds: seconds(began.Sub(b.began)), Seconds: seconds(time.Since(began))}
	if ctx.Err() != nil {
		err = errInterrupted
	}
	if err != nil {
		s.Error = err.Error()
		err = stepError{name, err}
	}
	b.report.Steps = append(b.report.Steps, s)
	return err
}

// step shows how far it is; on a terminal with the time since the create.
func (b *booting) step(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if b.t.liveErr && !b.began.IsZero() {
		line += fmt.Sprintf(" (%s)", age(time.Since(b.began)))
	}
	b.t.step("%s", line)
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// pause waits; the error says that there is no more time.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
