// Command dosim serves a simulated DigitalOcean account on loopback: for doctl, curl, or a fleeting plugin that is to
// be tried without an account.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

const usage = `Usage: dosim [flags]

Serves a simulated DigitalOcean account over HTTP, on loopback, until interrupted.
It rejects what DigitalOcean rejects, limits rates as DigitalOcean does, bills by
the second, and fails on request. Nothing is kept, and nothing costs money.

  -listen ADDR         loopback address to serve on (default 127.0.0.1:8787;
                       port 0 is any free one)
  -token TOKEN         the only token it lets in (default dosim-token)
  -boot D              from a create to active (default 30s)
  -droplet-limit N     the account's quota (default 100)
  -guests              an SSH server in every Droplet, on addresses of 127/8, and a
                       port that it tells: connector_config.protocol_port
  -ssh-port N          guests, on this port (default any free one)
  -docker[=SOCKET]     guests, whose docker commands reach a Docker Engine of this
                       host, for docker-autoscaler. All Droplets share it, and a
                       job's container outlives a Droplet that dies
  -fault FAULT         something to go wrong; may be given many times

` + dosim.FaultGrammar + `
While it runs GET /_sim tells what is really there: Droplets, bill, requests, faults,
and violations (what no sane client does).

An example, with the first create carried out and its answer lost:

  $ dosim -boot 5s -fault 'POST /v2/droplets: applied reset' &
  $ auth='Authorization: Bearer dosim-token'
  $ api=http://127.0.0.1:8787
  $ curl -H "$auth" $api/v2/droplets -d '{"name":"ci-1","region":"fra1",
      "size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64"}'
  curl: (56) Recv failure: Connection reset by peer
  $ curl -s $api/_sim
  Droplets: 1
    512000001  ci-1  new  fra1  s-1vcpu-1gb  127.64.0.1
  Bill: $0.01 for 1 made
  Requests: 1
       1  POST /v2/droplets
  Faults: 0
  Violations: 1
    2026-01-01T12:00:00Z created ci-1 without SSH keys
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "dosim: error: %v\n", err)
		os.Exit(1)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, out io.Writer) error {
	cfg, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, err = io.WriteString(out, usage)
		return err
	}
	if err != nil {
		return fmt.Errorf("%w (dosim -help explains the flags)", err)
	}
	if cfg.guests {
		fleet, err := boot(ctx, &cfg, out)
		if err != nil {
			return err
		}
		defer fleet.Close()
	}
	sim := dosim.New(cfg.options)
	sim.Inject(cfg.faults...)

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.listen)
	if err != nil {
		return fmt.Errorf("cannot serve: %w; choose another address with -listen, port 0 is any free one", err)
	}
	fmt.Fprintf(out, `A simulated DigitalOcean is at %[1]s, and its token is %[2]s. To try it:
  curl -s -H 'Authorization: Bearer %[2]s' %[1]s/v2/account
  doctl --api-url %[1]s --access-token %[2]s compute size list
  export DIGITALOCEAN_API_URL=%[1]s DIGITALOCEAN_TOKEN=%[2]s   # for the plugin
What is really there, and what it would cost: curl -s %[1]s/_sim
`, "http://"+listener.Addr().String(), cfg.options.Token)

	server := &http.Server{Handler: handler(sim), ReadHeaderTimeout: 10 * time.Second}
	defer sim.Close()
	defer context.AfterFunc(ctx, func() {
		sim.Close() // requests that hang end
		_ = server.Close()
	})()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// boot hooks an SSH server into every Droplet that becomes active, and says how to reach it. The caller must Close the
// fleet.
func boot(ctx context.Context, c *config, out io.Writer) (*guest.Fleet, error) {
	options := guest.Options{Port: c.sshPort, Log: log.Printf}
	if c.docker {
		docker, err := guest.FindDocker(ctx, c.socket)
		if err != nil {
			return nil, fmt.Errorf("-docker: %w", err)
		}
		options.Docker = docker
		fmt.Fprintf(out, "All Droplets share the Docker Engine at %s: what jobs leave there stays.\n", docker.Host)
	}
	fleet, err := guest.NewFleet(options)
	if err != nil {
		return nil, fmt.Errorf("-guests: %w", err)
	}
	fmt.Fprintf(out, "Guests listen for SSH on port %[1]d of their Droplets' addresses. For a runner that is to reach them:\n"+
		"  [runners.autoscaler.connector_config]\n    protocol_port = %[1]d\n", fleet.Port())
	c.options.Hooks = fleet.Hooks("", time.Until, func(d dosim.Droplet, err error) {
		log.Printf("Droplet %d (%s) has no SSH server: %v", d.ID, d.Name, err)
	})
	return fleet, nil
}

// config is what the flags say.
type config struct {
	listen  string
	guests  bool
	sshPort int    // 0: any
	docker  bool   // the guests have one:
	socket  string // that of its Engine; empty: this host's
	options dosim.Options
	faults  []dosim.Fault
}

func parse(args []string) (config, error) {
	var c config
	flags := flag.NewFlagSet("dosim", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run reports
	flags.StringVar(&c.listen, "listen", "127.0.0.1:8787", "")
	flags.StringVar(&c.options.Token, "token", dosim.DefaultToken, "")
	flags.DurationVar(&c.options.BootTime, "boot", 30*time.Second, "")
	flags.IntVar(&c.options.DropletLimit, "droplet-limit", 100, "")
	flags.BoolVar(&c.guests, "guests", false, "")
	flags.IntVar(&c.sshPort, "ssh-port", 0, "")
	flags.BoolFunc("docker", "", func(socket string) (err error) {
		if c.docker = true; socket != "true" { // one is given
			c.socket, err = filepath.Abs(socket)
		}
		return err
	})
	flags.Func("fault", "", func(text string) error {
		fault, err := dosim.ParseFault(text)
		c.faults = append(c.faults, fault)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	c.guests = c.guests || c.docker || c.sshPort != 0
	return c, loopback(c.listen)
}

// loopback refuses to serve an account without real authentication to a network.
func loopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if addr, parseErr := netip.ParseAddr(host); err != nil || host != "localhost" && (parseErr != nil || !addr.IsLoopback()) {
		return fmt.Errorf("-listen %s: dosim serves on loopback only, such as 127.0.0.1:8787", listen)
	}
	return nil
}
