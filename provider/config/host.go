package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Host is what of the machine a plugin_config may refer to. Neither field may be nil.
type Host struct {
	// Getenv returns an environment variable, or "" when it is not set.
	Getenv func(name string) string

	// ReadFile returns the content of a file. A file longer than limit bytes is an error.
	ReadFile func(path string, limit int64) ([]byte, error)
}

// ThisHost is the machine that the plugin runs on.
func ThisHost() Host { return Host{Getenv: os.Getenv, ReadFile: readFile} }

func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe that nobody writes to blocks for ever
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("it is larger than %d bytes", limit)
	}
	return os.ReadFile(path)
}

// readChecked reads a file and checks its content. The error follows the path in a sentence, and so leaves the path out.
func readChecked(host Host, path string, limit int64, check func(string) (string, error)) (string, error) {
	content, err := host.ReadFile(path, limit)
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err
	}
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	return check(string(content))
}
