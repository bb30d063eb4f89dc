// Command dosim serves a simulated DigitalOcean account on loopback: for doctl, curl, or a fleeting plugin that is to
// be tried without an account.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

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
	server, url, curl := dosim.NewHTTPServer(handler(sim)), "http://"+listener.Addr().String(), "curl -s"
	if cfg.tls != "" {
		var ca []byte
		if listener, ca, err = dosim.ListenTLS(listener, dosim.Protocols...); err != nil {
			return err
		}
		if err := os.WriteFile(cfg.tls, ca, 0o644); err != nil { //nolint:gosec // a certificate is public
			_ = listener.Close()
			return fmt.Errorf("-tls: cannot write the certificate: %w", err)
		}
		url, curl = "https://"+listener.Addr().String(), "curl -s --cacert "+cfg.tls
		fmt.Fprintf(out, "For doctl and the plugin to trust it: export SSL_CERT_FILE=%s\n", cfg.tls)
	}
	greet(out, curl, url, cfg.options.Token)

	stopped := context.AfterFunc(ctx, func() {
		sim.Close()
		_ = server.Close()
	})
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	sim.Close()
	return nil
}

func greet(out io.Writer, curl, url, token string) {
	fmt.Fprintf(out, `A simulated DigitalOcean is at %[1]s, and its token is %[2]s. To try it:
  %[3]s -H 'Authorization: Bearer %[2]s' %[1]s/v2/account
  doctl --api-url %[1]s --access-token %[2]s compute size list
  export DIGITALOCEAN_API_URL=%[1]s DIGITALOCEAN_TOKEN=%[2]s   # for the plugin
What is really there, and what it would cost: %[3]s %[1]s/_sim
`, url, token, curl)
}

// config is what the flags say.
type config struct {
	listen  string
	tls     string // where to write the certificate; empty: no TLS
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
	flags.StringVar(&c.tls, "tls", "", "")
	flags.StringVar(&c.options.Token, "token", dosim.DefaultToken, "")
	flags.DurationVar(&c.options.BootTime, "boot", 30*time.Second, "")
	flags.DurationVar(&c.options.DeleteTime, "delete", 3*time.Second, "")
	flags.DurationVar(&c.options.ListLag, "list-lag", 0, "")
	flags.DurationVar(&c.options.Latency, "latency", 0, "")
	flags.IntVar(&c.options.DropletLimit, "droplet-limit", 100, "")
	flags.IntVar(&c.options.PerMinute, "per-minute", 250, "")
	flags.IntVar(&c.options.PerHour, "per-hour", 5000, "")
	flags.BoolVar(&c.guests, "guests", false, "")
	flags.IntVar(&c.sshPort, "ssh-port", 0, "")
	flags.BoolFunc("docker", "", func(socket string) error {
		if c.docker = true; socket == "true" { // none is given
			return nil
		}
		var err error
		c.socket, err = filepath.Abs(socket)
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
	if err != nil {
		return fmt.Errorf("-listen %s: want host:port, such as 127.0.0.1:8787", listen)
	}
	if addr, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !addr.IsLoopback()) {
		return fmt.Errorf("-listen %s: dosim serves on loopback only, such as 127.0.0.1:8787", listen)
	}
	return nil
}
