package config

import (
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
	read := func(path string, limit int64) (string, error) {
		return readChecked(ThisHost(), path, limit, func(content string) (string, error) { return content, nil })
	}
	if got, err := read(path, 5); err != nil || got != "12345" {
		t.Errorf("a file as long as the limit = %q, %v", got, err)
	}
	for _, tt := range []struct {
		path  string
		limit int64
		want  string
	}{
		{path, 4, "it is larger than 4 bytes"},
		{path + "2", 5, "no such file or directory"},
		{directory, 5, "it is not a regular file"},
		{os.DevNull, 5, "it is not a regular file"},
	} {
		if got, err := read(tt.path, tt.limit); err == nil {
			t.Errorf("%s = %q", tt.path, got)
		} else if want := "cannot be read: " + tt.want; err.Error() != want {
			t.Errorf("%s: %v, want %s", tt.path, err, want)
		}
	}
}
