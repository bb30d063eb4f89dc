package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// How long a boot may take, in minutes, counts the steps that are made, each as long as
// it is waited for.
func TestLongest(t *testing.T) {
	for _, tt := range []struct {
		name, executor, ready string
		create, timeout       time.Duration
		want                  int
	}{
		// 80 s + 90 s + 10 m 30 s + 10 m + 15 m + 1 m + 5 m + 12 s
		{"all steps", "docker-autoscaler", "docker info", 10 * time.Minute, 0, 45},
		{"no Docker", "instance", "true", 10 * time.Minute, 0, 44},
		{"no ready command", "instance", "", 10 * time.Minute, 0, 29},
		{"SSH is given up sooner", "instance", "", 10 * time.Minute, 5 * time.Minute, 24},
		{"bounds of doctor's own", "instance", "", 24 * time.Hour, time.Hour, 34},
	} {
		s := doctor.Subject{Config: config.Config{CreateTimeout: tt.create}, Runner: runnerconfig.Runner{Executor: tt.executor,
			Autoscaler: &runnerconfig.Autoscaler{InstanceReadyCommand: tt.ready, Connector: runnerconfig.Connector{Timeout: tt.timeout}}}}
		if got := longest(s); got != tt.want {
			t.Errorf("%s: %d minutes, want %d", tt.name, got, tt.want)
		}
	}
}

// What has to be waited for before the create is no time of DigitalOcean's, and the bars
// begin with the create.
func TestBootStepsBeginWithTheCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &booting{report: &bootReport{}, began: time.Now()}
		for _, name := range []string{"create", "active"} {
			err := b.measure(t.Context(), name, time.Hour, func(context.Context) error {
				if name == "create" {
					time.Sleep(53 * time.Second)
					b.began = time.Now()
				}
				time.Sleep(2 * time.Second)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		want := []bootStep{{Name: "create", Seconds: 2}, {Name: "active", BeganSeconds: 2, Seconds: 2}}
		if !slices.Equal(b.report.Steps, want) {
			t.Errorf("got %+v, want %+v", b.report.Steps, want)
		}
	})
}

// Bars are on one axis: a step begins where the one before it ends, and none is
// invisible.
func TestBars(t *testing.T) {
	var out strings.Builder
	r := bootReport{Droplet: "ci-7k2m-doctor-w4n27k2m9q", Size: "s-2vcpu-4gb", Region: "fra1", GoneSeconds: 4.1, Steps: []bootStep{
		{Name: "create", Seconds: 0.01}, {Name: "active", BeganSeconds: 0.01, Seconds: 30}, {Name: "SSH", BeganSeconds: 30.01, Seconds: 10},
		{Name: "ready command", BeganSeconds: 40.01, Seconds: 9.99}, {Name: "Docker", BeganSeconds: 50, Seconds: 0, Error: "no"},
	}}
	r.print(&terminal{out: &out})
	want := `boot of ci-7k2m-doctor-w4n27k2m9q, s-2vcpu-4gb in fra1
  create            0.0 s  #
  active           30.0 s  ##############################
  SSH              10.0 s                                ##########
  ready command    10.0 s                                          ##########
  Docker            0.0 s                                                   # failed
  together         50.0 s
  gone              4.1 s after that
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	(&bootReport{Steps: []bootStep{{Name: "create", Error: "no"}}}).print(&terminal{out: &out})
	if out.Len() > 0 {
		t.Errorf("of no Droplet it prints %q", out.String())
	}
}

// Names from elsewhere cannot play tricks with a terminal, and colours are for one.
func TestFindingsAreClean(t *testing.T) {
	d := diagnosis{Group: "ci", Runner: "\x1b[2J", Where: "x", Findings: []doctor.Finding{
		{Level: doctor.Fault, Where: "\x1b[31m", What: "image \x1b]0;x\a", Hint: "\x1b[7m\nmore"}}}
	for _, colours := range []bool{false, true} {
		var out strings.Builder
		d.print(&terminal{out: &out, colours: colours}, 0)
		text := strings.NewReplacer("\x1b["+bold+"m", "", "\x1b["+red+"m", "", "\x1b[0m", "").Replace(out.String())
		if strings.ContainsAny(text, "\x1b\a") || strings.Count(text, "hint: ") != 2 || colours != (text != out.String()) {
			t.Errorf("with colours %t: %q", colours, out.String())
		}
	}
}

func TestTail(t *testing.T) {
	var last tail
	for range 1000 {
		if n, err := last.Write([]byte("0123456789")); n != 10 || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, _ = last.Write([]byte("the end")); len(last) != 400 || !strings.HasSuffix(string(last), "789the end") || cap(last) > 2000 {
		t.Errorf("%d bytes of %d: %q", len(last), cap(last), last)
	}
}
