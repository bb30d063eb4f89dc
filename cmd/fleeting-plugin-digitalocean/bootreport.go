package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
)

// bootReport is how long a test Droplet took. Its JSON form is stable.
type bootReport struct {
	Group       string     `json:"group"`
	Droplet     string     `json:"droplet,omitempty"`
	Size        string     `json:"size,omitempty"`
	Region      string     `json:"region,omitempty"`
	USDPerHour  float64    `json:"usd_per_hour,omitempty"`
	Steps       []bootStep `json:"steps"`
	GoneSeconds float64    `json:"gone_seconds,omitempty"` // from the end of the steps until it was gone
	Left        []string   `json:"left"`
}

// bootStep is one step of its life; create is the POST.
type bootStep struct {
	Name         string  `json:"name"`
	BeganSeconds float64 `json:"began_seconds"` // after the create began
	Seconds      float64 `json:"seconds"`
	Error        string  `json:"error,omitempty"`
}

// seconds is a duration to a hundredth of a second.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*100) / 100 }

// total is how long all steps took.
func (r *bootReport) total() float64 {
	if len(r.Steps) == 0 {
		return 0
	}
	last := r.Steps[len(r.Steps)-1]
	return last.BeganSeconds + last.Seconds
}

// print shows the steps as bars on one axis of time. Without a Droplet there are none.
func (r *bootReport) print(t *terminal) {
	if r.Droplet == "" {
		return
	}
	title := "boot of " + r.Droplet
	if r.Size != "" {
		title += fmt.Sprintf(", %s in %s", r.Size, r.Region)
	}
	fmt.Fprintln(t.out, t.colour(bold, title))
	total := r.total()
	for _, s := range r.Steps {
		line := fmt.Sprintf("  %-13s %7.1f s  %s", s.Name, s.Seconds, bar(s.BeganSeconds, s.Seconds, total))
		if s.Error != "" {
			line = strings.TrimRight(line, " ") + " " + t.colour(red, "failed")
		}
		fmt.Fprintln(t.out, line)
	}
	fmt.Fprintf(t.out, "  %-13s %7.1f s\n", "together", total)
	if r.GoneSeconds > 0 {
		fmt.Fprintf(t.out, "  %-13s %7.1f s after that\n", "gone", r.GoneSeconds)
	}
}

// bar is a step on the axis of 50 characters: at least one of them, at its place.
func bar(began, took, total float64) string {
	const width = 50
	if total <= 0 {
		return ""
	}
	from := min(int(began/total*width), width-1)
	to := max(from+1, int(math.Round((began+took)/total*width)))
	return strings.Repeat(" ", from) + strings.Repeat("#", to-from)
}

// hints are what to look at when a step failed.
var hints = map[string]string{
	"active": "raise create_timeout if the image takes that long; else give DigitalOcean's support the Droplet's name",
	"SSH": "can this host reach the address (firewall, use_external_addr, ufw of the image)? " +
		"Does the image let username in with a key that DigitalOcean puts into root's authorized_keys?",
	"ready command": "make a Droplet by hand with this image and user_data, and run it there",
	"Docker":        "is Docker in the image, or installed by user_data, and may username use it?",
}

// findings is a test Droplet's life in words.
func (b *booting) findings(ctx context.Context, err error) (found []doctor.Finding) {
	r := b.report
	add := func(level doctor.Level, hint, format string, args ...any) {
		found = append(found, doctor.Finding{Check: "boot", Level: level, Where: "group " + r.Group, What: fmt.Sprintf(format, args...), Hint: hint})
	}
	failed, _ := errors.AsType[stepError](err)
	switch {
	case ctx.Err() != nil:
		add(doctor.Warning, "", "interrupted, so it is not known whether jobs can run")
	case err == nil:
		add(doctor.OK, "", "%s could take a job %.1f s after it was asked for", r.Droplet, r.total())
	case failed.step == "start":
		add(doctor.Fault, "", "the plugin does not start: %v", failed.error)
	case failed.step == "create":
		add(doctor.Fault, "", "no Droplet was made: %v", failed.error)
	default:
		add(doctor.Fault, hints[failed.step], "%s: %s: %v", r.Droplet, failed.step, failed.error)
	}
	switch {
	case len(r.Left) > 0:
		add(doctor.Fault, b.subject.Sweep(r.Group), "this is left, and Droplets are billed: %s", strings.Join(r.Left, ", "))
	case r.Droplet != "":
		add(doctor.OK, "", "it is deleted, and nothing is left of it")
	default:
		add(doctor.OK, "", "nothing is left of it")
	}
	return found
}
