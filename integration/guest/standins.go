package guest

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
)

// standIns are the programs of a Droplet that the host may lack, or has and
// must not lend: they say what they are.
//
//go:embed standins
var standIns embed.FS

// installStandIns makes dir and puts the programs there.
func installStandIns(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("installing the guests' programs: %w", err)
	}
	programs, _ := standIns.ReadDir("standins") // which is part of this program
	for _, p := range programs {
		text, _ := standIns.ReadFile("standins/" + p.Name())
		if err := os.WriteFile(filepath.Join(dir, p.Name()), text, 0o700); err != nil {
			return fmt.Errorf("installing the guests' programs: %w", err)
		}
	}
	return nil
}
