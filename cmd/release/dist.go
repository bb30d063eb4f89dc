package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// A dist is a directory that `make dist` has made, found to be whole and to hold
// what it says.
type dist struct {
	dir      string
	version  string
	binaries []binary
}

// A binary is the plugin for one platform.
type binary struct {
	platform string // as fleeting-artifact names its directory: "linux/armv7"
	path     string
	size     int64
}

// name is what people download.
func (b binary) name() string {
	return "fleeting-plugin-digitalocean-" + strings.ReplaceAll(b.platform, "/", "-") + filepath.Ext(b.path)
}

// openDist checks a dist. Invariant: what is handed out is complete, is of the
// version that it is handed out as, and is for the platform that it is handed out
// for; a mistake would be found by whoever installs it. (TestWrongDist)
func openDist(ctx context.Context, dir, version string, platforms []string) (*dist, error) {
	if err := checkVersion(version); err != nil {
		return nil, err
	}
	rebuild := "make dist VERSION=" + version
	built, err := os.ReadFile(filepath.Join(dir, "VERSION"))
	if err != nil {
		return nil, problemf(rebuild, "%s is not what make dist makes: %v", dir, err)
	}
	if v := strings.TrimSpace(string(built)); v != version {
		return nil, problemf(rebuild, "%s holds version %s, not %s", dir, v, version)
	}
	files, err := checkSums(dir)
	if err != nil {
		return nil, problemf(rebuild, "%v", err)
	}
	d := &dist{dir: dir, version: version}
	var wrong []error
	for _, file := range files {
		if base := path.Base(file); base != "plugin" && base != "plugin.exe" {
			continue
		}
		b := binary{platform: path.Dir(file), path: filepath.Join(dir, file)}
		if err := b.check(ctx, version); err != nil {
			wrong = append(wrong, err)
		}
		if info, err := os.Stat(b.path); err == nil {
			b.size = info.Size()
		}
		d.binaries = append(d.binaries, b)
	}
	if len(d.binaries) == 0 {
		wrong = append(wrong, fmt.Errorf("%s has no binary in it", dir))
	}
	for _, p := range platforms {
		if !slices.ContainsFunc(d.binaries, func(b binary) bool { return b.platform == p }) {
			wrong = append(wrong, fmt.Errorf("%s has no binary for %s", dir, p))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, problemf(rebuild, "%v", err)
	}
	return d, nil
}

// checkVersion holds a version to what fleeting-artifact can install: three
// numbers, perhaps with a pre-release, and no v.
func checkVersion(version string) error {
	v := "v" + version
	if !semver.IsValid(v) || semver.Build(v) != "" || semver.Canonical(v) != v {
		return problemf("three numbers without a v, as in 0.2.0", "%q is no version that can be released", version)
	}
	return nil
}

// checkSums holds every file to checksums.txt, and returns their names.
func checkSums(dir string) ([]string, error) {
	list, err := os.Open(filepath.Join(dir, "checksums.txt"))
	if err != nil {
		return nil, err
	}
	defer list.Close()
	sums := map[string]string{}
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok || !fs.ValidPath(name) {
			return nil, fmt.Errorf("%s: no checksum: %q", list.Name(), lines.Text())
		}
		sums[name] = sum
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	var files []string
	var wrong []error
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || name == "checksums.txt" {
			return err
		}
		files = append(files, name)
		got, err := sumOf(filepath.Join(dir, name))
		switch want, ok := sums[name]; {
		case err != nil:
			wrong = append(wrong, err)
		case !ok:
			wrong = append(wrong, fmt.Errorf("%s is not in %s", name, list.Name()))
		case got != want:
			wrong = append(wrong, fmt.Errorf("%s is not what its checksum says", name))
		}
		delete(sums, name)
		return nil
	})
	for name := range sums {
		wrong = append(wrong, fmt.Errorf("%s is missing", name))
	}
	return files, errors.Join(append(wrong, err)...)
}

func sumOf(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}

// check finds a binary that is for another platform than its directory, or that
// says to be of another version where that can be asked.
func (b binary) check(ctx context.Context, version string) error {
	info, err := buildinfo.ReadFile(b.path)
	if err != nil {
		return fmt.Errorf("%s is no whole binary: %w", b.path, err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	is := settings["GOOS"] + "/" + settings["GOARCH"]
	if arm, _, _ := strings.Cut(settings["GOARM"], ","); arm != "" {
		is += "v" + arm
	}
	if is != b.platform {
		return fmt.Errorf("%s is for %s", b.path, is)
	}
	if b.platform != runtime.GOOS+"/"+runtime.GOARCH {
		return nil
	}
	out, err := exec.CommandContext(ctx, b.path, "version").Output()
	if err != nil {
		return fmt.Errorf("%s does not run: %w", b.path, err)
	}
	if !slices.Contains(strings.Split(string(out), "\n"), "Version:      "+version) {
		return fmt.Errorf("%s says of itself:\n%s", b.path, out)
	}
	return nil
}
