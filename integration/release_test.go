package integration

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// What users do: versions are released, and those that users name are installed, the
// same bytes.
func TestReleaseAndInstall(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	for _, version := range []string{"0.1.0", "0.2.0"} {
		out, err := r.release(t, standInOf, version)
		if want := "latest is " + version + "\n"; err != nil || !strings.HasSuffix(out, want) {
			t.Fatalf("release: %v\n%s", err, out)
		}
	}
	// A version that is there is not replaced, not even by the same.
	before := r.tags(t)
	out, err := r.release(t, standInOf, "0.2.0")
	if err != nil || !strings.Contains(out, ":0.2.0 is in the registry already, and is not replaced\n") || !maps.Equal(before, r.tags(t)) {
		t.Errorf("%v, tags %v, were %v\n%s", err, r.tags(t), before, out)
	}
	plugins := t.TempDir()
	for constraint, version := range map[string]string{
		":0.1": "0.1.0", ":latest": "0.2.0", ":0": "0.2.0", "": "0.2.0", ":0.1.0": "0.1.0", ":0.2": "0.2.0",
	} {
		path := r.install(t, plugins, constraint)
		if sumOf(t, path) != sumOf(t, builtIn(standInOf(t, version))) {
			t.Errorf("%q is not %s", constraint, version)
		}
		// The licences come along.
		for _, file := range []string{"LICENSE", "NOTICE"} {
			if info, err := os.Stat(filepath.Join(filepath.Dir(path), file)); err != nil || info.Size() == 0 {
				t.Errorf("%q: %s: %v", constraint, file, err)
			}
		}
	}

	// An older line is kept up: its own tag moves, the others stay.
	if out, err := r.release(t, standInOf, "0.1.1"); err != nil || !strings.HasSuffix(out, "latest is 0.2.0\n") {
		t.Fatalf("release: %v\n%s", err, out)
	}
	for constraint, version := range map[string]string{":0.1": "0.1.1", ":latest": "0.2.0", ":0": "0.2.0"} {
		if path := r.install(t, t.TempDir(), constraint); !strings.Contains(path, "/"+version+"/") {
			t.Errorf("%q is %s, want %s", constraint, path, version)
		}
	}
}

// install installs what a constraint asks for, and returns where.
func (r *testRegistry) install(t *testing.T, plugins, constraint string) string {
	t.Helper()
	ref := r.repository() + constraint
	if out, err := r.artifact(t.Context(), plugins, "install", ref); err != nil {
		t.Fatalf("install %s: %v\n%s", ref, err, out)
	}
	out, err := r.artifact(t.Context(), plugins, "lookpath", ref)
	if err != nil {
		t.Fatalf("lookpath %s: %v\n%s", ref, err, out)
	}
	return strings.TrimSpace(out)
}

// tags returns the digests of what the repository has, by tag.
func (r *testRegistry) tags(t *testing.T) map[string]string {
	t.Helper()
	tags := map[string]string{}
	all, err := r.crane(t.Context(), "ls", r.repository())
	if err != nil {
		return tags // no repository
	}
	for tag := range strings.FieldsSeq(all) {
		digest, err := r.crane(t.Context(), "digest", r.repository()+":"+tag)
		if err != nil {
			t.Fatalf("%v\n%s", err, digest)
		}
		tags[tag] = digest
	}
	return tags
}

// fleeting-artifact would make a pre-release latest, whatever there is, and latest
// could not be installed any more.
func TestPrereleaseNeverBecomesLatest(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	if out, err := r.release(t, standInOf, "0.1.0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := r.release(t, standInOf, "0.2.0-rc.1")
	if err == nil || !strings.Contains(out, "error: 0.2.0-rc.1 is no version for the registry: a pre-release would become latest") {
		t.Errorf("release: %v\n%s", err, out)
	}
	if path := r.install(t, t.TempDir(), ":latest"); !strings.Contains(path, "/0.1.0/") {
		t.Errorf("latest is %s", path)
	}

	// Somebody does it by hand.
	ref := r.repository() + ":0.2.0-rc.1"
	dir := t.TempDir()
	at := filepath.Join(dir, runtime.GOOS, runtime.GOARCH)
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(builtIn(standInOf(t, "0.2.0-rc.1")), filepath.Join(at, "plugin")); err != nil {
		t.Fatal(err)
	}
	if out, err := r.artifact(t.Context(), "", "release", "-dir", dir, ref); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Then nothing is released on top of it.
	before := r.tags(t)
	if out, err := r.release(t, standInOf, "0.1.1"); err == nil || !strings.Contains(out, "has the pre-release 0.2.0-rc.1 in it") {
		t.Errorf("release: %v\n%s", err, out)
	}
	if after := r.tags(t); len(after) != len(before) {
		t.Errorf("tags: %v, were %v", after, before)
	}
}

// A release that breaks off, wherever that is, leaves nothing that could be
// installed in part, says what broke, and is done by repeating it.
func TestHalfWrittenUpload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, fails string // requests that match it
		tagged      bool   // the version is there all the same
	}{
		{"a layer", `^(PATCH .*|PUT .*/blobs/.*)$`, false},
		{"an image", `^PUT .*/manifests/sha256:`, false},
		{"the index", `^PUT .*/manifests/0.1.0$`, false},
		{"latest", `^PUT .*/manifests/latest$`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRegistry(t)
			r.setFault(func(w http.ResponseWriter, req *http.Request) bool {
				if !regexp.MustCompile(c.fails).MatchString(req.Method + " " + req.URL.Path) {
					return false
				}
				http.Error(w, `{"errors":[{"code":"DENIED","message":"the disk is full"}]}`, http.StatusForbidden)
				return true
			})
			out, err := r.release(t, standInOf, "0.1.0")
			if err == nil || !strings.Contains(out, "error: fleeting-artifact release failed\n") ||
				!strings.Contains(out, "the disk is full") || !strings.Contains(out, "\nhint: run it again") {
				t.Errorf("release: %v\n%s", err, out)
			}
			if _, tagged := r.tags(t)["0.1.0"]; tagged != c.tagged {
				t.Errorf("0.1.0 is in the registry: %v, want %v", tagged, c.tagged)
			}
			plugins := t.TempDir()
			out, err = r.artifact(t.Context(), plugins, "install", r.repository()+":latest")
			if err == nil || !strings.Contains(out, "getting image: fetching index: ") {
				t.Errorf("install: %v\n%s", err, out)
			}
			assertNothingInstalled(t, plugins)
			r.setFault(nil)
			if out, err := r.release(t, standInOf, "0.1.0"); err != nil || !strings.HasSuffix(out, "latest is 0.1.0\n") {
				t.Errorf("again: %v\n%s", err, out)
			}
			r.install(t, plugins, ":latest")
		})
	}
}

// What users get to read when it cannot be installed. docs/install.md explains
// each: the words are the installer's, and this test holds the page to them.
func TestInstallErrors(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	if out, err := r.release(t, standInOf, "0.1.0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// An artifact for another platform only.
	foreign := t.TempDir()
	dir := filepath.Join(foreign, "linux", "s390x")
	if runtime.GOARCH == "s390x" {
		dir = filepath.Join(foreign, "linux", "riscv64")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plugin"), []byte("for others"), 0o755); err != nil {
		t.Fatal(err)
	}
	other := r.host + "/others/fleeting-plugin-digitalocean"
	if out, err := r.artifact(t.Context(), "", "release", "-dir", foreign, other+":0.1.0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range []struct {
		name, ref, says string
		fault           func(http.ResponseWriter, *http.Request) bool
	}{
		{name: "a missing tag", ref: r.repository() + ":0.9", says: "MANIFEST_UNKNOWN"},
		{name: "a missing repository", ref: r.host + "/nobody/nothing:latest", says: "NAME_UNKNOWN"},
		{name: "another architecture", ref: other + ":0.1.0", says: "didn't find an image matching platform"},
		{name: "no access", ref: r.repository() + ":0.1.0", says: "401 Unauthorized",
			fault: func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusUnauthorized); return true }},
		{name: "cut off", ref: r.repository() + ":0.1.0", says: "error verifying size", fault: r.damaged(func(b []byte) []byte { return b[:len(b)/2] })},
		{name: "a port", ref: r.host + ":443/fleeting-digitalocean/fleeting-plugin-digitalocean:0.1.0", says: "malformed module path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.setFault(c.fault)
			defer r.setFault(nil)
			plugins := t.TempDir()
			out, err := r.artifact(t.Context(), plugins, "install", c.ref)
			if err == nil || !strings.Contains(out, c.says) {
				t.Errorf("%v\n%s; want %s", err, out, c.says)
			}
			t.Logf("%s", strings.TrimSpace(out))
			assertNothingInstalled(t, plugins)
			if !strings.Contains(readDoc(t, "docs/install.md"), c.says) {
				t.Errorf("docs/install.md does not explain %q", c.says)
			}
		})
	}
	// It does not look at what arrived if the length is right: so docs/install.md compares.
	r.setFault(r.damaged(func(b []byte) []byte { return exchanged(t, b) }))
	plugins := t.TempDir()
	if out, err := r.artifact(t.Context(), plugins, "install", r.repository()+":0.1.0"); err != nil {
		t.Errorf("the installer notices it by now, which docs/install.md denies: %v\n%s", err, out)
	} else if sumOf(t, filepath.Join(plugins, r.repository(), "0.1.0", "plugin")) == sumOf(t, builtIn(standInOf(t, "0.1.0"))) {
		t.Error("it was not exchanged")
	}
	r.setFault(nil)
	if out, err := r.artifact(t.Context(), t.TempDir(), "lookpath", r.repository()+":latest"); err == nil || !strings.Contains(out, "plugin not found") {
		t.Errorf("not installed: %v %s", err, out)
	}
}

// damaged is a fault: the plugin arrives, but changed.
func (r *testRegistry) damaged(change func([]byte) []byte) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/blobs/") {
			return false
		}
		answer := httptest.NewRecorder()
		r.registry.ServeHTTP(answer, req)
		content := answer.Body.Bytes()
		if len(content) > 1<<16 { // not the image's configuration
			content = change(content)
		}
		_, _ = w.Write(content) // the client may have heard enough
		return true
	}
}

// exchanged is a layer as long as another, with something else in its largest file. One flipped bit would be noticed,
// but by gzip's own checksum, and only where that is read to its end.
func exchanged(t *testing.T, layer []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	files, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	clear(files[len(files)/2:][:1<<16])
	var out bytes.Buffer
	member := func(content []byte, padding int) {
		w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // a level that there is
		w.Extra = make([]byte, padding)
		_, err := w.Write(content)
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	member(files, 0)
	empty := out.Len()
	member(nil, 1)
	empty = out.Len() - empty - 1 // without its padding
	for out.Len() < len(layer) {
		padding := min(len(layer)-out.Len()-empty, math.MaxUint16)
		if rest := len(layer) - out.Len() - empty - padding; rest > 0 && rest <= empty {
			padding -= 2 * empty // another member has to fit behind it
		}
		if padding < 1 {
			break
		}
		member(nil, padding)
	}
	if out.Len() != len(layer) {
		t.Fatalf("the layer has %d bytes, the other %d", len(layer), out.Len())
	}
	return out.Bytes()
}

// assertNothingInstalled fails if there is a file where plugins are installed.
func assertNothingInstalled(t *testing.T, plugins string) {
	t.Helper()
	err := filepath.WalkDir(plugins, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
