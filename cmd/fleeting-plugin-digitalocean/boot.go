package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	fleeting "gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// How often it looks.
const (
	lookEvery = time.Second
	leftEvery = 10 * time.Second // DigitalOcean lets SSH keys be listed 10 times a minute
)

// booting is one test Droplet: the plugin's own InstanceGroup is driven as the runner
// drives it, in a group of its own, of at most one Droplet.
//
// Invariant: whatever has been asked for is destroyed before doctor ends, whether a
// step failed or a person has had enough. What a doctor leaves that is killed, the
// next one destroys, since its group has the same name; and sweep does.
// (TestBoot)
type booting struct {
	t       *terminal
	subject doctor.Subject
	api     *digitalocean.Client
	plugin  provider.InstanceGroup
	started bool     // Init succeeded
	dead    []string // runs of doctors that were killed on this host
	report  *bootReport
	began   time.Time // the create
}

// bootOne makes a Droplet, measures it, and destroys it.
func bootOne(ctx context.Context, t *terminal, api *digitalocean.Client, s doctor.Subject, cost *doctor.Cost) (*bootReport, []doctor.Finding) {
	unheard() // the Droplet is to be destroyed
	b := &booting{t: t, subject: s, api: api, report: &bootReport{Group: doctor.BootGroup(s.Account.Name), Steps: []bootStep{}, Left: []string{}}}
	price := "at a price that is not known"
	if cost != nil && cost.IdleSize != "" {
		price = fmt.Sprintf("%s at %.5f USD an hour", cost.IdleSize, cost.IdleUSDPerHour)
	}
	t.say("note", "making one Droplet, %s, in the group %s: it is billed for 60 seconds or 0.01 USD at the least, and destroyed whatever happens; "+
		"all of it takes %d minutes at most", price, b.report.Group, most(s))

	err := b.run(ctx)
	b.clean(context.WithoutCancel(ctx))
	t.done()
	return b.report, b.findings(ctx, err)
}

// run is everything up to the first job.
func (b *booting) run(ctx context.Context) error {
	if err := b.start(ctx); err != nil {
		return stepError{"start", err}
	}
	if err := b.destroyWithin(ctx, "destroying what an earlier doctor left"); err != nil {
		return stepError{"start", err}
	}
	bounds := boundsOf(b.subject)
	var id string
	b.began = time.Now()
	if err := b.step(ctx, "create", bounds.create, b.create); err != nil {
		return err
	}
	if err := b.step(ctx, "active", bounds.active, func(ctx context.Context) (err error) {
		id, err = b.active(ctx)
		return err
	}); err != nil {
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
	b.tell("group %s: starting the plugin", b.report.Group)
	if s, err := state.Peek(ctx, b.subject.Account.APIURL, b.report.Group); err == nil {
		b.dead = s.DeadRuns()
	}
	a := b.subject.Runner.Autoscaler
	data, err := json.Marshal(a.PluginConfig)
	if err == nil {
		err = b.plugin.UnmarshalJSON(data)
	}
	if err != nil {
		return err
	}
	b.plugin.Boot()
	c := a.Connector
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

// create asks for the Droplet until the plugin accepts that. It is not cut off: an answer
// that is lost has to be settled by lists for a minute.
func (b *booting) create(ctx context.Context) error {
	for {
		b.began = time.Now()
		n, err := b.plugin.Increase(context.WithoutCancel(ctx), 1)
		if err != nil || n > 0 {
			return cmp.Or(err, ctx.Err())
		}
		b.t.step("group %s: waiting: the token's requests are spent, or a Droplet of another doctor is there", b.report.Group)
		if pause(ctx, lookEvery) != nil {
			return errors.New("none was asked for: the token's requests are spent, or a Droplet of another doctor is there")
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
		b.tell("%s: waiting until it is active%s", cmp.Or(b.report.Droplet, "the Droplet"), because(err))
		if pause(ctx, lookEvery) != nil {
			return "", fmt.Errorf("%w%s", context.Cause(ctx), because(err))
		}
	}
}

// identify notes what the Droplet is, for the report.
func (b *booting) identify(ctx context.Context) {
	found, _ := inventory.Look(ctx, b.api, b.report.Group) // it is a comfort only
	for _, d := range found.Owned {
		if d.Name == b.report.Droplet {
			b.report.Size, b.report.Region, b.report.USDPerHour = d.Size, d.Region, d.PriceHourly
		}
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
		if err := b.destroyWithin(ctx, "destroying the Droplet"); err != nil {
			b.t.say("warning", "the Droplet could not be destroyed: %v", err)
		} else if b.report.Droplet != "" {
			b.report.GoneSeconds = seconds(time.Since(began))
		}
		if err := b.plugin.Shutdown(ctx); err != nil {
			b.t.say("warning", "%v", err)
		}
	}
	bounded, cancel := context.WithTimeout(ctx, leftBound)
	defer cancel()
	b.tell("group %s: looking whether anything is left", b.report.Group)
	for {
		var err error
		if b.report.Left, err = b.left(bounded); err == nil && len(b.report.Left) == 0 {
			break
		}
		if pause(bounded, leftEvery) != nil {
			if err != nil {
				b.report.Left = append(b.report.Left, fmt.Sprintf("what is left is not known: %v", err))
			}
			return
		}
	}
	// The last trace. It costs nothing, and the token may not be allowed to.
	if err := b.api.RemoveTag(bounded, instancegroup.GroupTag(b.report.Group)); err != nil && !errors.Is(err, instancegroup.ErrNotFound) {
		b.t.say("note", "the tag %s stays, which costs nothing: %v", instancegroup.GroupTag(b.report.Group), err)
	}
}

// destroyWithin is destroy within its bound.
func (b *booting) destroyWithin(ctx context.Context, what string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, destroyBound, fmt.Errorf("not within %s", destroyBound))
	defer cancel()
	return b.destroy(ctx, what)
}

// destroy destroys all instances, and waits until DigitalOcean shows them gone.
func (b *booting) destroy(ctx context.Context, what string) error {
	for {
		states, err := b.look(ctx)
		maps.DeleteFunc(states, func(_ string, s fleeting.State) bool { return s == fleeting.StateDeleted })
		if err == nil && len(states) == 0 {
			return nil
		}
		b.tell("group %s: %s%s", b.report.Group, what, because(err))
		if _, derr := b.plugin.Decrease(ctx, slices.Sorted(maps.Keys(states))); derr != nil {
			err = cmp.Or(err, derr)
		}
		if pause(ctx, lookEvery) != nil {
			return fmt.Errorf("%w%s", context.Cause(ctx), because(err))
		}
	}
}

// left returns what the account still has of the group. What doctors left that were
// killed on this host goes with it: of their Droplets, Init has taken over all.
func (b *booting) left(ctx context.Context) ([]string, error) {
	left := []string{}
	var now inventory.Account
	l, err := now.Find(ctx, b.api, b.report.Group, b.dead)
	for _, unread := range l.Unread {
		if !errors.Is(unread, instancegroup.ErrForbidden) { // else it would never be known; the scopes tell
			err = errors.Join(err, unread)
		}
	}
	for _, d := range l.Droplets {
		left = append(left, fmt.Sprintf("Droplet %s (%d)", d.Name, d.ID))
	}
	for _, k := range l.Keys {
		if k.Doubt != "" || !goneNow(b.api.DeleteKey(ctx, k.Fingerprint)) {
			left = append(left, "SSH key "+k.Name)
		}
	}
	for _, tag := range l.Tags {
		if tag.Doubt != "" || !goneNow(b.api.RemoveTag(ctx, tag.Name)) {
			left = append(left, "tag "+tag.Name)
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

// step does one step within a bound, and takes its time.
func (b *booting) step(ctx context.Context, name string, bound time.Duration, do func(context.Context) error) error {
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

// tell says how far it is; on a terminal with the time since the create.
func (b *booting) tell(format string, args ...any) {
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
