package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
)

// pluginPackage is the plugin's main package.
const pluginPackage = "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/cmd/fleeting-plugin-digitalocean"

// BuildPlugin builds the plugin into dir, with the Makefile's tags, and returns
// the binary's path. It works in every directory of the module. With the race
// detector, if its caller has it, the plugin has it too.
func BuildPlugin(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, filepath.Base(pluginPackage))
	// As the caller was built, or as `make build` does, so that what is compiled is found.
	flag, cgo := "-trimpath", "CGO_ENABLED=0"
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		flag, cgo = "-race", "CGO_ENABLED=1"
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", "grpcnotrace", "-o", path, flag, pluginPackage)
	cmd.Env = append(os.Environ(), cgo)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, output)
	}
	return path, nil
}
