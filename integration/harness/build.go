package harness

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// pluginPackage is the plugin's main package.
const pluginPackage = "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/cmd/fleeting-plugin-digitalocean"

// BuildPlugin builds the plugin into dir and returns the binary's path. It
// works in every directory of the module.
func BuildPlugin(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, filepath.Base(pluginPackage))
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	output, err := exec.CommandContext(ctx, "go", "build", "-o", path, pluginPackage).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, output)
	}
	return path, nil
}
