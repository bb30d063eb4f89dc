package guest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// fakeDocker stands for this host's docker command, of which one Engine answers.
const fakeDocker = `#!/bin/sh
case "$1 $DOCKER_HOST" in
"context "*) echo unix:///engine.sock ;;
"version unix:///engine.sock") echo 20.10 ;;
"version "*) printf 'a warning\nCannot connect to %s.\n' "$DOCKER_HOST" >&2; exit 1 ;;
*) echo "$DOCKER_HOST" "$@" ;;
esac
`

func TestDockerIsTheHosts(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	refused := func(socket, want string) {
		t.Helper()
		if _, err := guest.FindDocker(t.Context(), socket); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	refused("", `no Docker: exec: "docker": executable file not found in $PATH`)
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(fakeDocker), 0o700); err != nil {
		t.Fatal(err)
	}
	refused("/none.sock", "no Docker Engine: Cannot connect to unix:///none.sock.")
	d, err := guest.FindDocker(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}

	f, err := guest.NewFleet(guest.Options{Docker: d, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := run(t, connect(t, f, boot(t, f)), "docker system dial-stdio && docker info", "")
	want := result{Stdout: "unix:///engine.sock system dial-stdio\nunix:///engine.sock info\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
