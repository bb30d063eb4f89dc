// Command dosim serves a simulated DigitalOcean account on loopback: for doctl, curl, or a fleeting plugin that is to
// be tried without an account.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

const usage = `Usage: dosim [flags]

Serves a simulated DigitalOcean account over HTTP, on loopback, until interrupted.
It rejects what DigitalOcean rejects, limits rates as DigitalOcean does, bills by
the second, and fails on request. Nothing is kept, and nothing costs money.

  -port N              port of 127.0.0.1 to serve on (default 8787; 0: any free one)
  -boot D              from a create to active (default 30s)
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
	var options dosim.Options
	var faults []dosim.Fault
	var docker, socket string
	flags := flag.NewFlagSet("dosim", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	port := flags.Int("port", 8787, "")
	guests := flags.Bool("guests", false, "")
	sshPort := flags.Int("ssh-port", 0, "")
	flags.DurationVar(&options.BootTime, "boot", 30*time.Second, "")
	flags.BoolFunc("docker", "", func(value string) (err error) {
		if docker = value; value != "true" { // one is given
			socket, err = filepath.Abs(value)
		}
		return err
	})
	flags.Func("fault", "", func(text string) error {
		fault, err := dosim.ParseFault(text)
		faults = append(faults, fault)
		return err
	})
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err = io.WriteString(out, usage)
		return err
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		return fmt.Errorf("%w (dosim -help explains the flags)", err)
	}

	if *guests || docker != "" || *sshPort != 0 {
		o := guest.Options{Port: *sshPort, Log: log.Printf}
		if docker != "" {
			if o.Docker, err = guest.FindDocker(ctx, socket); err != nil {
				return fmt.Errorf("-docker: %w", err)
			}
			fmt.Fprintf(out, "All Droplets share the Docker Engine at %s: what jobs leave there stays.\n", o.Docker.Host)
		}
		fleet, err := guest.NewFleet(o)
		if err != nil {
			return fmt.Errorf("-guests: %w", err)
		}
		defer fleet.Close()
		fmt.Fprintf(out, "Guests listen for SSH on port %[1]d of their Droplets' addresses. For a runner that is to reach them:\n"+
			"  [runners.autoscaler.connector_config]\n    protocol_port = %[1]d\n", fleet.Port())
		options.Hooks = fleet.Hooks("", time.Until, func(d dosim.Droplet, err error) {
			log.Printf("Droplet %d (%s) has no SSH server: %v", d.ID, d.Name, err)
		})
	}
	sim := dosim.New(options)
	defer sim.Close()
	sim.Inject(faults...)

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return fmt.Errorf("cannot serve: %w; choose another -port, 0 is any free one", err)
	}
	fmt.Fprintf(out, `A simulated DigitalOcean is at %[1]s, and its token is %[2]s. To try it:
  curl -s -H 'Authorization: Bearer %[2]s' %[1]s/v2/account
  doctl --api-url %[1]s --access-token %[2]s compute size list
  export DIGITALOCEAN_API_URL=%[1]s DIGITALOCEAN_TOKEN=%[2]s   # for the plugin
What is really there, and what it would cost: curl -s %[1]s/_sim
`, "http://"+listener.Addr().String(), dosim.DefaultToken)

	mux := http.NewServeMux()
	mux.Handle("/", sim)
	mux.HandleFunc("GET /_sim", func(w http.ResponseWriter, _ *http.Request) { printTruth(w, sim) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() {
		sim.Close() // requests that hang end
		_ = server.Close()
	})()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// printTruth prints the account as it is, whatever its API says.
func printTruth(w io.Writer, sim *dosim.Sim) {
	list := func(title string, lines []string) {
		fmt.Fprintf(w, "%s: %d\n", title, len(lines))
		for _, line := range lines {
			fmt.Fprintf(w, "  %s\n", strings.TrimRight(line, " "))
		}
	}
	var droplets, faults []string
	for _, d := range sim.Droplets() {
		address := d.PublicIPv4
		if !address.IsValid() {
			address = d.PrivateIPv4
		}
		droplets = append(droplets, fmt.Sprintf("%d  %s  %s  %s  %s  %s  %s",
			d.ID, d.Name, d.Status, d.Region, d.Size, address, strings.Join(d.Tags, ",")))
	}
	list("Droplets", droplets)
	fmt.Fprintf(w, "Bill: $%.2f for %d made\nRequests: %d\n", sim.Dollars(), len(sim.Ledger()), len(sim.Requests()))
	requests := sim.RequestCounts()
	for _, op := range slices.Sorted(maps.Keys(requests)) {
		fmt.Fprintf(w, "%6d  %s\n", requests[op], cmp.Or(op, "(no such operation)"))
	}
	for _, f := range sim.Faults() {
		faults = append(faults, f.String())
	}
	list("Faults", faults)
	list("Violations", sim.Violations())
}
