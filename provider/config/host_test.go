package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestThisHostReadsFiles(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	path := filepath.Join(directory, "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := ThisHost()

	if got, err := host.ReadFile(path, 5); err != nil || string(got) != "12345" {
		t.Errorf("a file as long as the limit = %q, %v", got, err)
	}
	if got, err := host.ReadFile(path, 4); err == nil || err.Error() != "it is larger than 4 bytes" {
		t.Errorf("a file longer than the limit = %q, %v", got, err)
	}
	if got, err := host.ReadFile(directory, 5); err == nil || err.Error() != "it is a directory" {
		t.Errorf("a directory = %q, %v", got, err)
	}
	if got, err := host.ReadFile(path+"2", 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file = %q, %v", got, err)
	}
	if got, err := host.ReadFile(os.DevNull, 5); err == nil || err.Error() != "it is not a regular file" {
		t.Errorf("a device = %q, %v", got, err)
	}
}

// TestThisHostReadsTheEnvironment cannot be parallel: it sets a variable.
func TestThisHostReadsTheEnvironment(t *testing.T) {
	t.Setenv("DIGITALOCEAN_TOKEN", "dop_v1_env")
	if got := ThisHost().Getenv("DIGITALOCEAN_TOKEN"); got != "dop_v1_env" {
		t.Errorf("Getenv = %q", got)
	}
}
