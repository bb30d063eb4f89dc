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
// the binary's path. It works in every directory of the module. With the race
// detector, if its caller has it, the plugin has it too.
func BuildPlugin(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, filepath.Base(pluginPackage))
	args := []string{"build", "-buildvcs=false", "-tags", "grpcnotrace", "-o", path}
	// As the caller was built, or as `make build` does, so that what is compiled is found.
	if raceDetector {
		args = append(args, "-race")
	} else {
		args = append(args, "-trimpath")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, pluginPackage)...)
	if !raceDetector {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, output)
	}
	return path, nil
}
