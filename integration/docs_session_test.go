package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

// goEnv is what `go` in a session, which has another home, needs to find what it has
// built and fetched.
var goEnv = sync.OnceValues(func() ([]string, error) {
	var env []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		cmd := exec.Command("go", "env", name)
		value, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go env %s: %w", name, err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env, nil
})

// environ is the environment before TestMain changes it: without a state directory,
// and with the certificates of the world.
var environ = os.Environ()

// namespaces are the command line that gives a process mounts and processes of its
// own; why there can be none otherwise. root need not be real: where users may have
// namespaces the session has one in which they are root.
var namespaces = sync.OnceValues(func() (args []string, why string) {
	args = []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Getuid() != 0 {
		args = append(args, "--map-root-user")
	}
	said, err := exec.Command(args[0], append(args[1:], "mount", "-t", "tmpfs", "tmpfs", "/mnt")...).CombinedOutput()
	if err != nil {
		return nil, fmt.Sprintf("the docs' commands are not run: they write to /etc and /usr/local, and this host gives no mount namespace of our own (%v: %s). "+
			"Run the tests as root on Linux, in a container with --privileged or --cap-add SYS_ADMIN", err, bytes.TrimSpace(said))
	}
	return args, ""
})

// session is the shell of a doc's reader, see testdata/host/shell.bash.
type session struct {
	requests *os.File
	answers  *bufio.Reader
	end      context.CancelFunc // kills it, with all that it has started
}

func newSession(t *testing.T, w *world) *session {
	t.Helper()
	args, why := namespaces()
	if why != "" {
		t.Skip(why)
	}
	env, err := goEnv()
	if err != nil {
		t.Fatal(err)
	}
	request, requests, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, args[0], append(args[1:], "bash", "integration/testdata/host/shell.bash")...)
	cmd.Dir = ".."
	cmd.ExtraFiles = []*os.File{request}
	cmd.Env = append(append(environ, env...),
		"DIGITALOCEAN_API_URL="+w.url, "SSL_CERT_FILE="+host.Certificates(),
		"TOKEN="+dosim.DefaultToken, // the docs call DigitalOcean's token that
		"PLUGIN="+binary,
		"TEST_BINARY="+os.Args[0],
		gitLabRunnerEnv+"PORT="+strconv.Itoa(w.fleet.Port()),
	)
	if os.Getuid() != 0 {
		cmd.Env = append(cmd.Env, "OVERLAY=userxattr,")
	}
	cmd.WaitDelay = time.Second
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	request.Close()
	t.Cleanup(func() {
		end()
		requests.Close()
		_, _ = io.Copy(io.Discard, output)
		_ = cmd.Wait() // killed
		if said.Len() > 0 {
			t.Errorf("the reader's shell: %s", said.String())
		}
	})
	return &session{requests, bufio.NewReader(output), end}
}

// mostTime is how long a command may take.
const mostTime = 2 * time.Minute

// run runs a command to its end.
func (s *session) run(command string) (printed string, status int, err error) {
	defer time.AfterFunc(mostTime, s.end).Stop()
	if _, err := fmt.Fprintf(s.requests, "%s\x00", command); err != nil {
		return "", 0, err
	}
	printed, err = s.answers.ReadString(0)
	if err != nil {
		return printed, 0, fmt.Errorf("the command ended the shell, or took more than %s: %w", mostTime, err)
	}
	line, err := s.answers.ReadString('\n')
	if err == nil {
		status, err = strconv.Atoi(strings.TrimSpace(line))
	}
	return strings.TrimSuffix(printed, "\x00"), status, err
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
	plugin, err := exec.LookPath(config.Autoscaler.Plugin)
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
	return harness.Serve(ctx, config, plugin, log, func() { fmt.Println("idle") }, dial)
}

// A session keeps what a shell keeps, and nothing that it does reaches the host.
func TestSession(t *testing.T) {
	t.Parallel()
	s := newSession(t, newWorld(t, quick))
	const elsewhere = "sudo mkdir -p /etc/gitlab-runner && echo x | sudo tee /etc/gitlab-runner/left /usr/local/left ../left-by-a-test"
	for _, c := range []struct {
		command, printed string
		status           int
	}{
		{"cd integration && WORD=kept", "", 0},
		{"echo $WORD ${PWD##*/}; false", "kept integration\n", 1},
		{elsewhere, "x\n", 0},
		{"sleep 1000 & true", "", 0}, // must not outlive the session
	} {
		if printed, status, err := s.run(c.command); err != nil || status != c.status || printed != c.printed {
			t.Errorf("%s: it prints %q with status %d (%v), want %q with %d", c.command, printed, status, err, c.printed, c.status)
		}
	}
	for _, path := range []string{"/etc/gitlab-runner/left", "/usr/local/left", filepath.Join("..", "left-by-a-test")} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s reached the host: %v", path, err)
		}
	}
}
