package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// pluginPackage is the plugin's main package.
const pluginPackage = "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/cmd/fleeting-plugin-digitalocean"

// BuildPlugin builds the plugin into dir, with the Makefile's tags, and returns
// the binary's path. It works in every directory of the module.
func BuildPlugin(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, filepath.Base(pluginPackage))
	// As `make build` does, so that each finds what the other has compiled.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-o", path, pluginPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, output)
	}
	return path, nil
}
