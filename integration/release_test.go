package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
)

// built is where GoReleaser puts this host's binary below its dist directory.
const built = "fleeting-plugin-digitalocean_" + runtime.GOOS + "_" + runtime.GOARCH + "_v1/fleeting-plugin-digitalocean"

// asBuilt has the go command compile for programs that tests run as `make build` does, so that each package is compiled once.
var asBuilt = []string{"CGO_ENABLED=0", "GOFLAGS=" + os.Getenv("GOFLAGS") + " -trimpath -buildvcs=false"}

// faults are those of the registry, by the first part of a repository's name.
var faults sync.Map

var serveRegistry = sync.OnceValue(func() error {
	return simulated.ServeRegistry(func(w http.ResponseWriter, r *http.Request) bool {
		parts := strings.Split(r.URL.Path+"//", "/")
		fault, ok := faults.Load(parts[2])
		return ok && fault.(func(http.ResponseWriter, *http.Request) bool)(w, r)
	})
})

func newRegistry(t *testing.T) {
	t.Helper()
	long(t)
	if err := serveRegistry(); err != nil && os.Getenv("TEST_REGISTRY") != "" {
		t.Fatal(err)
	} else if err != nil {
		t.Skipf("not run: no registry on port 80, which needs root: %v", err)
	}
}

// What .ci/release-oci pushes, and what those get who install it: each script of testdata/release has a repository of its
// own, REPO, and in dist/VERSION stand-ins for what is built, which are packed in no time.
func TestReleases(t *testing.T) {
	newRegistry(t)
	var tools []string
	for _, name := range []string{"crane", "fleeting-artifact"} {
		out, err := exec.CommandContext(t.Context(), "go", "tool", "-n", name).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		tools = append(tools, strings.ToUpper(name[:1])+"="+strings.TrimSpace(string(out)))
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/release", RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"fault": injectFault, "installs": installs, "refused": refused},
		Setup: func(env *testscript.Env) (err error) {
			name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
			env.Vars = append(slices.Concat(environ, asBuilt, tools, env.Vars), "HOME="+os.Getenv("HOME"), "ROOT="+root, "BUILT="+built,
				"NAME="+name, "REPO=127.0.0.1/"+name+"/fleeting-plugin-digitalocean", "FLEETING_PLUGIN_PATH="+env.WorkDir+"/plugins")
			for i, version := range []string{"0.1.0", "0.1.1", "0.2.0", "0.2.0-rc.1"} {
				content := make([]byte, 1<<18)
				_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(content) // it never fails
				for _, binary := range []string{built, "others_linux_arm_7/fleeting-plugin-digitalocean"} {
					path := filepath.Join(env.WorkDir, "dist", version, binary)
					err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o700)) //nolint:gosec // a program
				}
			}
			return err
		},
	})
}

// injectFault is `fault KIND [REGEXP]`: full and denied are answers to requests that match; cut and exchanged are what
// becomes of the plugin on its way; with none there are no more faults.
func injectFault(ts *testscript.TestScript, _ bool, args []string) {
	status := map[string]int{"full": http.StatusForbidden, "denied": http.StatusUnauthorized}[args[0]]
	faults.Store(ts.Getenv("NAME"), func(w http.ResponseWriter, r *http.Request) bool {
		if status != 0 && regexp.MustCompile(args[1]).MatchString(r.Method+" "+r.URL.Path) {
			w.WriteHeader(status)
			_, err := io.WriteString(w, map[string]string{"full": `{"errors":[{"code":"DENIED","message":"the disk is full"}]}`}[args[0]])
			return err == nil
		}
		if status != 0 || args[0] == "none" || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		answer := httptest.NewRecorder()
		simulated.Images.ServeHTTP(answer, r)
		content := answer.Body.Bytes()
		switch {
		case len(content) < 1<<18: // the image's configuration
		case args[0] == "cut":
			content = content[:len(content)/2]
		case args[0] == "exchanged":
			exchange(content)
		}
		_, _ = w.Write(content) // the client may have heard enough
		return true
	})
}

// exchange changes a byte of what is in a layer, which is random and so not compressed, and gzip's checksum with it.
func exchange(layer []byte) {
	layer[len(layer)/2] ^= 1
	if z, err := gzip.NewReader(bytes.NewReader(layer)); err == nil {
		content, _ := io.ReadAll(z) // the checksum is wrong: that is its error
		binary.LittleEndian.PutUint32(layer[len(layer)-8:], crc32.ChecksumIEEE(content))
	}
}

// installs is `installs CONSTRAINT VERSION`: what users name is that version, the same bytes, with its licences.
func installs(ts *testscript.TestScript, _ bool, args []string) {
	ref := ts.Getenv("REPO") + args[0]
	ts.Check(ts.Exec(ts.Getenv("F"), "install", ref))
	ts.Check(ts.Exec(ts.Getenv("F"), "lookpath", ref))
	path := strings.TrimSpace(ts.ReadFile("stdout"))
	if ts.ReadFile(path) != ts.ReadFile("dist/"+args[1]+"/"+built) {
		ts.Fatalf("%q is %s, want %s", args[0], path, args[1])
	}
	for _, file := range []string{"LICENSE", "NOTICE"} {
		if ts.ReadFile(filepath.Join(filepath.Dir(path), file)) == "" {
			ts.Fatalf("%s is empty", file)
		}
	}
}

// refused is `refused REFERENCE TEXT`: it cannot be installed, not in part either; docs/install.md explains what is said.
func refused(ts *testscript.TestScript, _ bool, args []string) {
	err, page := ts.Exec(ts.Getenv("F"), "install", args[0]), ts.ReadFile(ts.Getenv("ROOT")+"/docs/install.md")
	if err == nil || !strings.Contains(ts.ReadFile("stdout"), args[1]) || !strings.Contains(page, args[1]) {
		ts.Fatalf("want %q, in docs/install.md too: %v", args[1], err)
	}
	if left, _ := filepath.Glob(ts.Getenv("FLEETING_PLUGIN_PATH") + "/*/*/*/*/*"); len(left) > 0 { // a good pattern
		ts.Fatalf("%s is left", left)
	}
}
