package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/mod/semver"
)

// releaseOCI pushes a dist to a repository with fleeting-artifact, and sees to it
// that the repository then is as it should be.
//
// Invariant: no pre-release is ever in the repository. fleeting-artifact gives the
// tag latest to the greatest version, pre-release or not, and its installer then
// ignores what it has found: nobody could install "latest" any more.
// (TestPrereleaseNeverBecomesLatest)
//
// Invariant: a version that is in the registry is never replaced. Whoever has
// installed it would have another one. (TestReleasedTwice)
func releaseOCI(ctx context.Context, d *dist, repository string, windows bool, stdout io.Writer) error {
	if pre := semver.Prerelease("v" + d.version); pre != "" {
		return problemf("pre-releases are handed out as packages only: make packages publish VERSION="+d.version,
			"%s is a pre-release: pushed to %s it would become latest, and latest could not be installed", d.version, repository)
	}
	repo, err := name.NewRepository(repository, name.StrictValidation)
	if err != nil {
		return problemf("registry.example.com/group/project, without a tag", "%q is no repository: %v", repository, err)
	}
	if strings.Contains(repo.RegistryStr(), ":") {
		return problemf("serve it on port 80 or 443", "%s: gitlab-runner fleeting install cannot read a registry with a port", repo)
	}
	before, err := versions(ctx, repo)
	if err != nil {
		return fmt.Errorf("listing the tags of %s: %w", repo, err)
	}
	for _, v := range before {
		if semver.Prerelease(v) != "" {
			return problemf("take it out of the registry", "%s has the pre-release %s in it, which becomes latest sooner or later", repo, v[1:])
		}
	}

	ref := repo.Name() + ":" + d.version
	if slices.Contains(before, "v"+d.version) {
		// Perhaps a release that was interrupted before its last step.
		fmt.Fprintf(stdout, "%s is in the registry already, and is not replaced\n", ref)
		if err := artifact(ctx, stdout, "update-aliases", ref); err != nil {
			return err
		}
	} else {
		staged, err := stage(d, windows, stdout)
		if err != nil {
			return err
		}
		defer os.RemoveAll(staged)
		if err := artifact(ctx, stdout, "release", "-dir", staged, ref); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s is released\n", ref)
	}
	return checkAliases(ctx, repo, d.version, stdout)
}

// versions returns the versions in a repository, with a v, the greatest last. A
// repository that does not exist has none.
func versions(ctx context.Context, repo name.Repository) ([]string, error) {
	tags, err := remote.List(repo, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if e, ok := errors.AsType[*transport.Error](err); ok && e.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, tag := range tags {
		if v := "v" + tag; semver.IsValid(v) && semver.Canonical(v) == v {
			out = append(out, v)
		}
	}
	semver.Sort(out)
	return out, nil
}

// stage makes a directory of the platforms that are released.
func stage(d *dist, windows bool, stdout io.Writer) (string, error) {
	staged, err := os.MkdirTemp("", "release-")
	if err != nil {
		return "", err
	}
	for _, b := range d.binaries {
		note := ""
		if strings.HasPrefix(b.platform, "windows/") && !windows {
			note = "  left out: without -windows it is a package only"
		} else if err := link(b, staged); err != nil {
			os.RemoveAll(staged)
			return "", err
		}
		fmt.Fprintf(stdout, "%-14s %5.2f MiB%s\n", b.platform, float64(b.size)/(1<<20), note)
	}
	return staged, nil
}

func link(b binary, staged string) error {
	target, err := filepath.Abs(filepath.Dir(b.path))
	if err != nil {
		return err
	}
	at := filepath.Join(staged, b.platform)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, at)
}

// artifact runs fleeting-artifact, whose words for people are on stdout.
func artifact(ctx context.Context, stdout io.Writer, args ...string) error {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, "go", append([]string{"tool", "fleeting-artifact"}, args...)...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return problemf("run it again: what is in the registry already is not sent twice",
			"fleeting-artifact %s: %v\n%s", args[0], err, strings.TrimSpace(said.String()))
	}
	_, err := io.WriteString(stdout, said.String())
	return err
}

// checkAliases finds a tag that does not lead to the version that it should.
func checkAliases(ctx context.Context, repo name.Repository, version string, stdout io.Writer) error {
	all, err := versions(ctx, repo)
	if err != nil {
		return fmt.Errorf("listing the tags of %s: %w", repo, err)
	}
	v := "v" + version
	is := map[string]string{} // alias -> version
	for _, other := range all {
		is["latest"] = other
		if semver.Major(other) == semver.Major(v) {
			is[semver.Major(v)[1:]] = other
		}
		if semver.MajorMinor(other) == semver.MajorMinor(v) {
			is[semver.MajorMinor(v)[1:]] = other
		}
	}
	var ours []string
	for alias, of := range is {
		a, err := digest(ctx, repo, alias)
		if err != nil {
			return fmt.Errorf("%s:%s: %w", repo, alias, err)
		}
		b, err := digest(ctx, repo, of[1:])
		if err != nil {
			return fmt.Errorf("%s:%s: %w", repo, of[1:], err)
		}
		if a != b {
			return problemf("go tool fleeting-artifact update-aliases "+repo.Name(), "%s:%s is not %s, as it should be", repo, alias, of[1:])
		}
		if of == v {
			ours = append(ours, alias)
		}
	}
	slices.Sort(ours)
	if len(ours) > 0 {
		fmt.Fprintf(stdout, "%s are %s\n", strings.Join(ours, " "), version)
	} else {
		fmt.Fprintf(stdout, "latest stays %s\n", is["latest"][1:])
	}
	return nil
}

func digest(ctx context.Context, repo name.Repository, tag string) (string, error) {
	d, err := remote.Head(repo.Tag(tag), remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return "", err
	}
	return d.Digest.String(), nil
}
