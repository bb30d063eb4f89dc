package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// packageName is that of the generic package on GitLab.
const packageName = "fleeting-plugin-digitalocean"

// gitlab is the project on GitLab that a job runs for.
type gitlab struct {
	api, project, token string
	client              *http.Client
}

// publish uploads the packages and makes the release. It can be repeated: what is
// there stays, and another build of the same version is an error.
func publish(ctx context.Context, env func(string) string, packages, version, notes string, stdout io.Writer) error {
	g := gitlab{env("CI_API_V4_URL"), env("CI_PROJECT_ID"), env("CI_JOB_TOKEN"), &http.Client{Timeout: 5 * time.Minute}}
	if g.api == "" || g.project == "" || g.token == "" {
		return problemf("it is for a job of GitLab CI", "CI_API_V4_URL, CI_PROJECT_ID and CI_JOB_TOKEN are not all set")
	}
	sums, err := os.ReadFile(filepath.Join(packages, "checksums.txt"))
	if err != nil {
		return problemf("make packages VERSION="+version, "%v", err)
	}
	var names []string
	for line := range strings.Lines(string(sums)) {
		_, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		names = append(names, name)
	}
	if extra, err := filepath.Glob(filepath.Join(packages, "checksums.txt.*")); err != nil { // its signature
		return err
	} else {
		for _, path := range extra {
			names = append(names, filepath.Base(path))
		}
	}
	// Last: where they are, everything is.
	names = append(names, "checksums.txt")

	there, err := g.get(ctx, g.file(version, "checksums.txt"))
	switch {
	case err != nil:
		return err
	case there != nil && !bytes.Equal(there, sums):
		return problemf("release what is new under a new version", "%s %s is published already, with other files", packageName, version)
	case there != nil:
		fmt.Fprintf(stdout, "the files of %s are published already\n", version)
	default:
		for _, name := range names {
			content, err := os.ReadFile(filepath.Join(packages, name))
			if err != nil {
				return err
			}
			if _, err := g.send(ctx, http.MethodPut, g.file(version, name), "application/octet-stream", content); err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s\n", g.file(version, name))
		}
	}
	return g.release(ctx, version, notes, names, stdout)
}

// file is the address of one file of a version.
func (g gitlab) file(version, name string) string {
	return fmt.Sprintf("%s/projects/%s/packages/generic/%s/%s/%s", g.api, url.PathEscape(g.project), packageName, version, url.PathEscape(name))
}

func (g gitlab) release(ctx context.Context, version, notes string, names []string, stdout io.Writer) error {
	type assetLink struct {
		Name string `json:"name"`
		URL  string `json:"url"`
		Type string `json:"link_type"`
	}
	var body struct {
		Tag         string `json:"tag_name"`
		Name        string `json:"name"`
		Description string `json:"description"`
		Assets      struct {
			Links []assetLink `json:"links"`
		} `json:"assets"`
	}
	body.Tag, body.Name, body.Description = "v"+version, version, notes
	if semver.Prerelease("v"+version) != "" {
		body.Name += " (pre-release)"
	}
	slices.Sort(names)
	for _, name := range names {
		kind := "other"
		if strings.HasPrefix(name, packageName) && filepath.Ext(name) != ".json" {
			kind = "package"
		}
		body.Assets.Links = append(body.Assets.Links, assetLink{name, g.file(version, name), kind})
	}
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = g.send(ctx, http.MethodPost, fmt.Sprintf("%s/projects/%s/releases", g.api, url.PathEscape(g.project)), "application/json", content)
	if e, ok := errors.AsType[refusal](err); ok && e.status == http.StatusConflict {
		fmt.Fprintf(stdout, "the release v%s exists already\n", version)
		return nil
	}
	if err == nil {
		fmt.Fprintf(stdout, "the release v%s is made\n", version)
	}
	return err
}

// get returns a file, and nil if there is none.
func (g gitlab) get(ctx context.Context, address string) ([]byte, error) {
	content, err := g.send(ctx, http.MethodGet, address, "", nil)
	if e, ok := errors.AsType[refusal](err); ok && e.status == http.StatusNotFound {
		return nil, nil
	}
	return content, err
}

// refusal is an answer that is none of 2xx.
type refusal struct {
	request string
	status  int
	words   string
}

func (r refusal) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", r.request, r.status, http.StatusText(r.status), r.words)
}

func (g gitlab) send(ctx context.Context, method, address, kind string, content []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	req.Header.Set("JOB-TOKEN", g.token)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, refusal{method + " " + address, resp.StatusCode, strings.TrimSpace(string(answer))}
	}
	return answer, err
}
