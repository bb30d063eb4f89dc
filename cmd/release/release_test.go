package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

const host = runtime.GOOS + "/" + runtime.GOARCH

// built makes a dist of this host's platform alone, once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dist")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("make", "-C", "../..", "dist", "VERSION=0.2.0", "PLATFORMS="+host, "DIST="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// copyDist is a dist of one's own.
func copyDist(t *testing.T) string {
	t.Helper()
	from, err := built()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "dist")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, host, "plugin"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sums writes checksums.txt as make dist does, for what a test has changed.
func sums(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `rm -f checksums.txt && find . -type f | sed 's|^\./||' | xargs sha256sum >../sums && mv ../sums checksums.txt`)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}

// call is the command line, in a directory of the module.
func call(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, func(key string) string { return env[key] }, &out, &errs)
	return code, out.String(), errs.String()
}

// A dist that is not what it says is not handed out.
func TestWrongDist(t *testing.T) {
	for _, c := range []struct {
		name, version, platforms string
		change                   func(t *testing.T, dir string)
		want                     string // of stderr
	}{
		{name: "as it should be"},
		{name: "another version", version: "0.3.0", want: "holds version 0.2.0, not 0.3.0\nhint: make dist VERSION=0.3.0\n"},
		{name: "a v", version: "v0.2.0", want: `"v0.2.0" is no version that can be released` + "\nhint: three numbers without a v, as in 0.2.0\n"},
		{name: "two numbers", version: "0.2", want: "is no version"},
		{name: "build metadata", version: "0.2.0+abc", want: "is no version"},
		{name: "of git describe", version: "0.2.0-3-gabcdef0-dirty", want: "holds version 0.2.0, not"},
		{name: "a platform is missing", platforms: "linux/s390x", want: "has no binary for linux/s390x\nhint: make dist VERSION=0.2.0\n"},
		{name: "cut off", change: func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, host, "plugin")) },
			want: "plugin is not what its checksum says"},
		{name: "built when it was interrupted", change: func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "checksums.txt")) },
			want: "checksums.txt: no such file"},
		{name: "cut off before it was summed", change: func(t *testing.T, dir string) {
			truncate(t, filepath.Join(dir, host, "plugin"))
			sums(t, dir)
		}, want: "is no whole binary"},
		{name: "a file too many", change: func(t *testing.T, dir string) { write(t, filepath.Join(dir, host, "token")) },
			want: "token is not in"},
		{name: "a file too few", change: func(t *testing.T, dir string) { remove(t, filepath.Join(dir, host, "NOTICE")) },
			want: "NOTICE is missing"},
		{name: "for another platform", change: func(t *testing.T, dir string) {
			if err := os.CopyFS(filepath.Join(dir, "linux/s390x"), os.DirFS(filepath.Join(dir, host))); err != nil {
				t.Fatal(err)
			}
			sums(t, dir)
		}, want: "linux/s390x/plugin is for " + host},
		{name: "it says to be another version", version: "0.2.1", change: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "VERSION"), "0.2.1")
			sums(t, dir)
		}, want: "says of itself:\nName:         fleeting-plugin-digitalocean\nVersion:      0.2.0"},
		{name: "nothing", change: func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, want: "is not what make dist makes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := copyDist(t)
			if c.change != nil {
				c.change(t, dir)
			}
			version := c.version
			if version == "" {
				version = "0.2.0"
			}
			out := filepath.Join(t.TempDir(), "packages")
			code, _, stderr := call(t, nil, "packages", "-dist", dir, "-platforms", c.platforms, "-out", out, version)
			if (c.want == "") != (code == 0) || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d, stderr %q; want %q", code, stderr, c.want)
			}
			if _, err := os.Stat(out); c.want != "" && err == nil {
				t.Error("packages were made")
			}
			// The registry cannot be reached: it is not asked.
			if code, _, stderr := call(t, nil, "oci", "-dist", dir, "-platforms", c.platforms, "192.0.2.1/a/b", version); c.want != "" &&
				(code != 1 || !strings.Contains(stderr, c.want)) {
				t.Errorf("oci: exit code %d, stderr %q; want %q", code, stderr, c.want)
			}
		})
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{nil, 2, "", "error: no command\nhint: go run ./cmd/release -help\n"},
		{[]string{"-help"}, 0, "Usage:", ""},
		{[]string{"oci", "-help"}, 0, "Usage:", ""},
		{[]string{"push"}, 2, "", "error: unknown command \"push\"\nhint: go run ./cmd/release -help\n"},
		{[]string{"oci", "0.2.0"}, 2, "", "error: oci: it takes a repository and a version\nhint: go run ./cmd/release -help\n"},
		{[]string{"packages", "0.2.0"}, 2, "", "error: packages: it takes -out DIR and a version\nhint: go run ./cmd/release -help\n"},
		{[]string{"publish", "0.2.0"}, 2, "", "error: publish: it takes -packages DIR and a version\nhint: go run ./cmd/release -help\n"},
		{[]string{"notes", "-x"}, 2, "", "error: notes: flag provided but not defined: -x\nhint: go run ./cmd/release -help\n"},
		{[]string{"notes"}, 2, "", "error: notes: it takes a version\nhint: go run ./cmd/release -help\n"},
	} {
		code, stdout, stderr := call(t, nil, c.args...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || stderr != c.stderr {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", c.args, code, stdout, stderr)
		}
	}
}

// What the registry would take and nobody could install is refused before anything
// is sent. (Against a registry: integration/release_test.go.)
func TestRefusedByName(t *testing.T) {
	dir := copyDist(t)
	for repository, want := range map[string]string{
		"192.0.2.1:5000/a/b":   "192.0.2.1:5000/a/b: gitlab-runner fleeting install cannot read a registry with a port\nhint: serve it on port 80 or 443\n",
		"192.0.2.1/a/b:latest": "is no repository",
		"a b":                  "is no repository",
	} {
		code, _, stderr := call(t, nil, "oci", "-dist", dir, repository, "0.2.0")
		if code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, stderr %q; want %q", repository, code, stderr, want)
		}
	}
}

func TestNotes(t *testing.T) {
	changelog := filepath.Join(t.TempDir(), "CHANGELOG.md")
	const nothing = "### Upgrading\n\n- Nothing to do.\n"
	write(t, changelog, "# Changelog", "", "## [Unreleased]", "", "- later", "", "## [0.2.0] - 2026-12-01", "", nothing+"### Added", "", "- a [link]",
		"", "## [0.2.0-rc.1] - 2026-11-30", "", nothing+"- candidate", "", "## [0.1.2] - 2026-11-02", "", "- what now?", "",
		"## [0.1.1]", "", "- no date", "", "## [0.1.0] - 2026-11-01", "", nothing+"- first", "", "[0.1.0]: https://example.com/0.1.0")
	write(t, changelog+".empty", "## [0.2.0] - 2026-12-01", "", "## [0.1.0] - 2026-11-01", "- x")
	for _, c := range []struct{ changelog, version, want, wrong string }{
		{changelog, "0.2.0", nothing + "### Added\n\n- a [link]\n", ""},
		{changelog, "0.2.0-rc.1", nothing + "- candidate\n", ""},
		{changelog, "0.1.0", nothing + "- first\n", ""},
		{changelog, "0.1.2", "", "the section of 0.1.2 does not say what an operator has to do\nhint: write a section \"### Upgrading\""},
		{changelog, "0.1.1", "", "the section of 0.1.1 has no date"},
		{changelog, "0.3.0", "", "says nothing about 0.3.0\nhint: write it, as a section \"## [0.3.0] - YYYY-MM-DD\"\n"},
		{changelog, "0.2", "", "is no version"},
		{changelog + ".empty", "0.2.0", "", "the section of 0.2.0 is empty"},
		{changelog + ".missing", "0.2.0", "", "no such file"},
	} {
		code, stdout, stderr := call(t, nil, "notes", "-changelog", c.changelog, c.version)
		if stdout != c.want || (c.wrong == "") != (code == 0) || !strings.Contains(stderr, c.wrong) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", c.version, code, stdout, stderr)
		}
	}
}

// fakeGitLab has what a job of GitLab CI is given: packages and releases.
type fakeGitLab struct {
	*httptest.Server
	files    map[string]string
	releases map[string]string // tag -> body
	refuse   string            // the path that gets 500
}

func newFakeGitLab(t *testing.T) *fakeGitLab {
	g := &fakeGitLab{files: map[string]string{}, releases: map[string]string{}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		file, isFile := strings.CutPrefix(r.URL.Path, "/projects/7/packages/generic/fleeting-plugin-digitalocean/")
		switch {
		case r.Header.Get("JOB-TOKEN") != "job-token":
			http.Error(w, `{"message":"401 Unauthorized"}`, http.StatusUnauthorized)
		case g.refuse != "" && strings.HasSuffix(r.URL.Path, g.refuse):
			http.Error(w, `{"message":"500"}`, http.StatusInternalServerError)
		case isFile && r.Method == http.MethodPut:
			g.files[file] = string(body)
			w.WriteHeader(http.StatusCreated)
		case isFile && r.Method == http.MethodGet:
			content, ok := g.files[file]
			if !ok {
				http.Error(w, `{"message":"404 Not Found"}`, http.StatusNotFound)
				return
			}
			_, _ = io.WriteString(w, content)
		case r.URL.Path == "/projects/7/releases" && r.Method == http.MethodPost:
			var release struct {
				Tag string `json:"tag_name"`
			}
			if err := json.Unmarshal(body, &release); err != nil || g.releases[release.Tag] != "" {
				http.Error(w, `{"message":"Release already exists"}`, http.StatusConflict)
				return
			}
			g.releases[release.Tag] = string(body)
			w.WriteHeader(http.StatusCreated)
		default:
			http.Error(w, r.Method+" "+r.URL.Path, http.StatusTeapot)
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *fakeGitLab) env() map[string]string {
	return map[string]string{"CI_API_V4_URL": g.URL, "CI_PROJECT_ID": "7", "CI_JOB_TOKEN": "job-token"}
}

// Packages are laid out, published once, and the release tells of them.
func TestPublish(t *testing.T) {
	temp := t.TempDir()
	out, changelog, sbom := filepath.Join(temp, "packages"), filepath.Join(temp, "CHANGELOG.md"), filepath.Join(temp, "some.cdx.json")
	write(t, changelog, "## [0.2.0] - 2026-12-01", "", "### Upgrading", "", "- \"new\"")
	write(t, sbom, "{}")
	if code, _, stderr := call(t, nil, "packages", "-dist", copyDist(t), "-out", out, "0.2.0", sbom); code != 0 {
		t.Fatal(stderr)
	}
	name := "fleeting-plugin-digitalocean-" + runtime.GOOS + "-" + runtime.GOARCH
	if said, err := exec.CommandContext(t.Context(), filepath.Join(out, name), "version").Output(); err != nil || !strings.Contains(string(said), "0.2.0") {
		t.Errorf("%s: %v", said, err)
	}
	write(t, filepath.Join(out, "checksums.txt.sigstore.json"), "signature")
	publish := []string{"publish", "-changelog", changelog, "-packages", out, "0.2.0"}

	if code, _, stderr := call(t, map[string]string{}, publish...); code != 1 ||
		stderr != "error: CI_API_V4_URL, CI_PROJECT_ID and CI_JOB_TOKEN are not all set\nhint: it is for a job of GitLab CI\n" {
		t.Errorf("outside of a job: %d %q", code, stderr)
	}
	g := newFakeGitLab(t)
	// Interrupted before its last file, it is done from the start.
	g.refuse = "/0.2.0/some.cdx.json"
	if code, _, stderr := call(t, g.env(), publish...); code != 1 || !strings.Contains(stderr, "some.cdx.json: 500 Internal Server Error") {
		t.Errorf("interrupted: %d %q", code, stderr)
	}
	if g.files["0.2.0/checksums.txt"] != "" || len(g.releases) > 0 {
		t.Error("it claims to be complete")
	}
	g.refuse = ""
	code, stdout, stderr := call(t, g.env(), publish...)
	if code != 0 || !strings.HasSuffix(stdout, "the release v0.2.0 is made\n") {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	for _, file := range []string{name, "LICENSE", "NOTICE", "some.cdx.json"} {
		sum := sha256.Sum256([]byte(g.files["0.2.0/"+file]))
		if g.files["0.2.0/"+file] == "" || !strings.Contains(g.files["0.2.0/checksums.txt"], hex.EncodeToString(sum[:])+"  "+file+"\n") {
			t.Errorf("%s is not what checksums.txt says", file)
		}
	}
	if g.files["0.2.0/checksums.txt.sigstore.json"] == "" {
		t.Error("the signature is not published")
	}
	for _, want := range []string{`"description":"### Upgrading\n\n- \"new\"\n"`, `"url":"` + g.URL + `/projects/7/packages/generic/fleeting-plugin-digitalocean/0.2.0/` + name + `","link_type":"package"`} {
		if !strings.Contains(g.releases["v0.2.0"], want) {
			t.Errorf("the release lacks %s: %s", want, g.releases["v0.2.0"])
		}
	}
	// Again, it does nothing; another build of the same version is refused.
	if code, stdout, stderr := call(t, g.env(), publish...); code != 0 ||
		stdout != "the files of 0.2.0 are published already\nthe release v0.2.0 exists already\n" {
		t.Errorf("again: %d %q %q", code, stdout, stderr)
	}
	write(t, filepath.Join(out, "checksums.txt"), "other")
	if code, _, stderr := call(t, g.env(), publish...); code != 1 || !strings.Contains(stderr, "0.2.0 is published already, with other files") {
		t.Errorf("another build: %d %q", code, stderr)
	}
	wrong := g.env()
	wrong["CI_JOB_TOKEN"] = "wrong-token"
	if code, stdout, stderr := call(t, wrong, publish...); code != 1 || !strings.Contains(stderr, "401 Unauthorized") || strings.Contains(stdout+stderr, "wrong-token") {
		t.Errorf("a wrong token: %d %q %q", code, stdout, stderr)
	}
}
