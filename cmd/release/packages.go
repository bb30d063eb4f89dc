package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// layPackages lays the files out that people download one by one: each binary
// under a name that tells its platform, the licences, and what else is given. The
// directory is made anew.
func layPackages(d *dist, out string, more []string, stdout io.Writer) error {
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	from := map[string]string{}
	for _, b := range d.binaries {
		from[b.name()] = b.path
	}
	// The same beside each binary.
	beside := filepath.Dir(d.binaries[0].path)
	for _, path := range append([]string{filepath.Join(beside, "LICENSE"), filepath.Join(beside, "NOTICE")}, more...) {
		from[filepath.Base(path)] = path
	}
	var names []string
	for name, path := range from {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(name, "fleeting-plugin-") && filepath.Ext(name) != ".json" {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(out, name), content, mode); err != nil {
			return err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	var sums strings.Builder
	for _, name := range names {
		sum, err := sumOf(filepath.Join(out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, name)
	}
	if err := os.WriteFile(filepath.Join(out, "checksums.txt"), []byte(sums.String()), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d files of %s, and checksums.txt\n", out, len(names), d.version)
	return nil
}
