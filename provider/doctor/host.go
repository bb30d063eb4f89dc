package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// Host is what of this host the checks go by. Look fills it in.
type Host struct {
	Now   time.Time
	Owner string // the number of the user that config.toml belongs to; "" = this process's, or not known

	RunnerVersion string // of gitlab-runner, such as "18.6.6"; "" = not known
	RunnerFault   string // why not

	Program Program
	Secrets []SecretFile
	Keys    []KeyFile

	StateFault error          // why the state directory cannot be used
	Ignored    error          // why the state file is not believed
	Holder     string         // the process id of the plugin that manages the group, "" = none does
	DeadRuns   []string       // earlier plugin processes that have ended
	Refused    *state.Refusal // the start that was refused last; nil = none was, or one went well since

	Addresses []netip.Addr // of this host
}

// SecretFile is a file with a secret in it.
type SecretFile struct {
	Path  string
	Holds string // what, for messages
	Mode  fs.FileMode
	Plain string // the key of config.toml that holds it; "" = a file of its own
}

// KeyFile is a private key.
type KeyFile struct {
	Key, Path string // the key of config.toml that names it
	Err       error  // why it cannot be used; nil = it can
}

// Look looks at this host, as far as the configuration of a group concerns it. It
// changes nothing.
func Look(ctx context.Context, file *runnerconfig.File, r runnerconfig.Runner, c config.Config, apiURL, group string) Host {
	h := Host{Now: time.Now()}
	if file != nil {
		if info, err := os.Stat(file.Path); err == nil {
			if uid, ok := state.OwnerOf(info); ok && uid != os.Getuid() {
				h.Owner = fmt.Sprint(uid)
			}
		}
		h.RunnerVersion, h.RunnerFault = askRunner(ctx)
		h.Program = findProgram(r.Autoscaler.Plugin)
		h.lookAtFiles(file, r, c)
	}
	if group != "" {
		h.lookAtState(ctx, apiURL, group)
	}
	all, _ := net.InterfaceAddrs() // none: this host is in no VPC
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			h.Addresses = append(h.Addresses, p.Addr())
		}
	}
	return h
}

// runnerBound is how long the runner may take to print its version.
const runnerBound = 5 * time.Second

var versionLine = regexp.MustCompile(`(?m)^Version:\s+v?(\d+\.\d+\.\d+)`)

// askRunner asks the gitlab-runner in PATH for its version.
func askRunner(ctx context.Context) (version, fault string) {
	ctx, cancel := context.WithTimeout(ctx, runnerBound)
	defer cancel()
	path, err := exec.LookPath("gitlab-runner")
	if err != nil {
		return "", "gitlab-runner is not in PATH"
	}
	c := exec.CommandContext(ctx, path, "--version")
	c.WaitDelay = time.Second // a child may keep the output open
	out, err := c.Output()
	if m := versionLine.FindSubmatch(out); m != nil {
		return string(m[1]), ""
	}
	if err != nil {
		return "", path + " --version: " + err.Error()
	}
	return "", path + " --version shows none"
}

func (h *Host) lookAtFiles(file *runnerconfig.File, r runnerconfig.Runner, c config.Config) {
	secret := func(path, holds, plain string) {
		if info, err := os.Stat(path); err == nil && path != "" {
			h.Secrets = append(h.Secrets, SecretFile{path, holds, info.Mode().Perm(), plain})
		}
	}
	connector := r.Autoscaler.Connector
	if pluginKey(r, "token") != "" {
		secret(file.Path, "plugin_config.token", "autoscaler.plugin_config.token")
	}
	if connector.Password != "" {
		secret(file.Path, "connector_config.password", "autoscaler.connector_config.password")
	}
	secret(c.Token.File, "DigitalOcean's token", "")
	for _, k := range []struct{ key, path string }{
		{"autoscaler.plugin_config.ssh_key_file", c.SSHKeyFile}, {"autoscaler.connector_config.key_path", connector.KeyPath},
	} {
		if k.path != "" {
			secret(k.path, "a private key", "")
			h.Keys = append(h.Keys, KeyFile{k.key, k.path, checkKey(k.path)})
		}
	}
}

// maxKey bounds what is read of a private key, in bytes.
const maxKey = 64 << 10

// checkKey returns why a private key cannot be used.
func checkKey(path string) error {
	info, err := os.Stat(path) // before it is read: a pipe would block
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxKey {
		return errors.New("it is no file of a private key")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = ssh.ParsePrivateKey(text)
	return err
}

func (h *Host) lookAtState(ctx context.Context, apiURL, group string) {
	s, err := state.Peek(ctx, apiURL, group)
	h.StateFault, h.DeadRuns, h.Refused, h.Ignored = err, s.DeadRuns(), s.Refused, s.Ignored
	if s.Held {
		h.Holder = "unknown"
		if s.PID != 0 {
			h.Holder = fmt.Sprint(s.PID)
		}
	}
}

func (e *exam) secretFiles() {
	secret := pluginKey(e.Runner, "token") != "" || e.Runner.Autoscaler.Connector.Password != ""
	if level := strings.ToLower(e.File.LogLevel); secret && (level == "debug" || level == "trace") {
		e.addAt(Warning, e.File.At("log_level"), `log_level = "info"`,
			"log_level %q writes plugin_config.token and connector_config.password into the log", level)
	}
	for _, s := range e.Host.Secrets {
		where := s.Path
		if s.Plain != "" {
			where = e.File.At(e.Runner.Key(s.Plain))
		}
		switch {
		case s.Mode&0o077 != 0 && runtime.GOOS != "windows":
			e.addAt(Warning, where, "chmod 600 "+s.Path, "other users of this host can read %s: %s has the mode %04o", s.Holds, s.Path, s.Mode)
		case s.Plain == "autoscaler.plugin_config.token":
			e.addAt(Note, where, `token_file = "/etc/gitlab-runner/digitalocean-token"`,
				"the token is in config.toml: in a file of its own it can be replaced without a restart")
		}
	}
}

func (e *exam) keyFiles() {
	for _, k := range e.Host.Keys {
		name, missing := lastPart(k.Key), errors.Is(k.Err, fs.ErrNotExist)
		switch {
		case k.Err == nil:
		case missing && name == "ssh_key_file":
			e.add(OK, k.Key, "", "%s %s does not exist yet: the first start makes it", name, k.Path)
		case missing:
			e.add(Fault, k.Key, "ssh-keygen -t ed25519 -N '' -f "+k.Path, "%s %s does not exist: the runner cannot start the plugin", name, k.Path)
		default:
			e.add(Fault, k.Key, "ssh-keygen -t ed25519 -N '' -f "+k.Path+".new", "%s %s cannot be used: %v", name, k.Path, k.Err)
		}
	}
}

func (e *exam) state() {
	if err := e.Host.StateFault; err != nil {
		what, hint, _ := strings.Cut(err.Error(), "; ")
		e.addAt(Fault, "", cmp.Or(hint, "in the runner's unit: StateDirectory=fleeting-plugin-digitalocean"), "the plugin cannot start: %s", what)
	}
	if err := e.Host.Ignored; err != nil {
		e.addAt(Note, "this host", "", "what earlier plugin processes remembered is ignored: %v; the next start begins anew", err)
	}
}

func (e *exam) user() {
	if owner := e.Host.Owner; owner != "" {
		e.addAt(Note, e.File.Path, fmt.Sprintf("sudo -u '#%s' fleeting-plugin-digitalocean doctor", owner),
			"it belongs to the user %s, and doctor runs as another: what it finds of files, HOME and locks may not be the runner's", owner)
	}
}

// lately is how long a refused start is worth a word.
const lately = 10 * time.Minute

func (e *exam) manager() {
	switch {
	case e.Account.Name == "" || e.Host.StateFault != nil:
	case e.Host.Holder != "":
		e.addAt(OK, "this host", "", "process %s manages the group", e.Host.Holder)
	default:
		e.addAt(OK, "this host", "", "no process manages the group now")
	}
	if r := e.Host.Refused; r != nil {
		if ago := e.Host.Now.Sub(r.At); ago >= 0 && ago < lately {
			e.addAt(Warning, "this host", "fix what it says; the runner starts the plugin again by itself",
				"the start at %s was refused: %s", r.At.In(e.Host.Now.Location()).Format(time.TimeOnly), strings.ReplaceAll(r.Text, "\n", "; "))
		}
	}
}
