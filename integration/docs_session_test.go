package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
)

// environ is the environment before TestMain changes it: without a state directory,
// and with the certificates of the world.
var environ = os.Environ()

// session has a command run by the shell of a doc's reader, see testdata/host/shell.bash, and returns what that prints, and
// its status.
type session func(command string) (printed string, status int, err error)

func newSession(t *testing.T, w *world) session {
	t.Helper()
	own := []string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc"} // mounts and processes
	said, err := exec.CommandContext(t.Context(), "unshare", append(own, "mount", "-t", "tmpfs", "tmpfs", "/mnt")...).CombinedOutput()
	if err != nil {
		t.Skipf("the docs' commands are not run: they write to /etc and /usr/local, and this host gives no mount namespace of our own (%v: %s). "+
			"Run the tests as root on Linux, in a container with --privileged or --cap-add SYS_ADMIN", err, bytes.TrimSpace(said))
	}
	ctx, end := context.WithCancel(t.Context()) // kills it, with all that it has started
	cmd := exec.CommandContext(ctx, "unshare", append(own, "bash", "integration/testdata/host/shell.bash")...)
	cmd.Dir = ".."
	cmd.Env = append(environ,
		"DIGITALOCEAN_API_URL="+w.URL, "SSL_CERT_FILE="+simulated.Host.Certificates(),
		"TOKEN="+dosim.DefaultToken, // the docs call DigitalOcean's token that
		"PLUGIN="+simulated.Plugin, "TEST_BINARY="+os.Args[0],
		gitLabRunnerEnv+"PORT="+strconv.Itoa(w.Fleet.Port()),
	)
	var faults strings.Builder
	cmd.Stderr = &faults
	requests, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end()
		_ = cmd.Wait() // killed
		if faults.Len() > 0 {
			t.Errorf("the reader's shell: %s", faults.String())
		}
	})
	const limit = 2 * time.Minute
	answers := bufio.NewReader(output)
	run := func(command string) (printed string, status int, err error) {
		defer time.AfterFunc(limit, end).Stop()
		if _, err := fmt.Fprintf(requests, "%s\x00", command); err != nil {
			return "", 0, err
		}
		if printed, err = answers.ReadString(0); err != nil {
			return printed, 0, fmt.Errorf("the command ended the shell, or took more than %s: %w", limit, err)
		}
		line, err := answers.ReadString('\n')
		if err == nil {
			status, err = strconv.Atoi(strings.TrimSpace(line))
		}
		return strings.TrimSuffix(printed, "\x00"), status, err
	}
	for dir, seen := range map[string]string{"/etc": "/etc", "/usr/local": "/usr/local", ".": ".."} { // nothing that it does reaches the host
		_, status, err := run("touch " + dir + "/left-by-a-test")
		if _, none := os.Stat(seen + "/left-by-a-test"); err != nil || status != 0 || none == nil {
			t.Fatalf("the reader's shell has no %s of its own: status %d, %v", dir, status, err)
		}
	}
	return run
}

// gitLabRunnerEnv makes this test binary a stand-in for gitlab-runner. With PORT
// after its name it holds the port that the Droplets' SSH servers listen on.
const gitLabRunnerEnv = "TEST_BE_A_GITLAB_RUNNER"

// beGitLabRunner is `gitlab-runner run`, as far as autoscaling goes, with the plugin
// that is in PATH. It prints "idle" when the policy has what it asks for.
func beGitLabRunner(args []string) error {
	if len(args) != 3 || args[0] != "run" || args[1] != "--config" {
		return fmt.Errorf("this stand-in for gitlab-runner knows only `gitlab-runner run --config FILE`, not %q", args)
	}
	config, err := harness.LoadConfig(args[2])
	if err != nil {
		return err
	}
	path, err := exec.LookPath(config.Autoscaler.Plugin)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(host, os.Getenv(gitLabRunnerEnv+"PORT")))
	}
	log := hclog.New(&hclog.LoggerOptions{Output: os.Stderr})
	return harness.Serve(ctx, config, path, log, func() { fmt.Println("idle") }, dial)
}
