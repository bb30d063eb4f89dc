package provider

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestTokenOfAnotherAccount: after a rotation nothing is concluded from what another
// account lacks, and nothing is made there. With the right token all goes on.
func TestTokenOfAnotherAccount(t *testing.T) {
	for name, unreadable := range map[string]bool{"by its id": false, "without account:read, by its Droplets": true} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "do-token")
			write := func(token string) {
				if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
					t.Error(err)
				}
			}
			onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
				other := dosim.New(dosim.Options{Token: "others"})
				defer other.Close()
				if unreadable {
					for _, s := range []*dosim.Sim{sim, other} {
						s.Inject(dosim.Fault{Op: "GET /v2/account", Status: 403, Times: -1})
					}
				}
				write(dosim.DefaultToken)
				g := configured(t, sim, options{"token": nil, "token_file": file, "max_instances": 5})
				g.transport = dosim.InProcess(dosim.Accounts{sim, other})
				if _, _, err := tryInit(t, g); err != nil {
					t.Fatal(err)
				}
				increase(t, g, 3)
				time.Sleep(time.Minute)
				states(t, g)

				sim.SetToken("rotated")
				write("others")
				for range 20 {
					time.Sleep(10 * time.Second)
					err := g.Update(t.Context(), func(id string, s provider.State) {
						if s != provider.StateRunning {
							t.Errorf("%s is shown as %s", id, s)
						}
					})
					if err != nil && (!strings.Contains(err.Error(), "account") || !strings.HasSuffix(err.Error(), ": the token comes from plugin_config.token_file "+file)) {
						t.Errorf("Update: %v", err)
					}
					if n, err := g.Increase(t.Context(), 1); n != 0 {
						t.Errorf("Increase(1) = %d, %v", n, err)
					}
				}
				if err := g.Update(t.Context(), func(string, provider.State) {}); err == nil {
					t.Error("Update has no error")
				}
				for _, r := range other.Requests() {
					if r.Op != "GET /v2/account" && r.Op != "GET /v2/droplets/{id}" {
						t.Errorf("the other account was asked %s", r.Op)
					}
				}

				write("rotated")
				time.Sleep(5 * time.Minute)
				if shown := states(t, g); count(shown, provider.StateRunning) != 3 || len(shown) != 3 {
					t.Errorf("with the right token: %v", shown)
				}
				increase(t, g, 2)
				decrease(t, g, names(sim)...)
				_ = g.Shutdown(t.Context())
				nothingLeft(t, sim)
				nothingLeft(t, other)
			})
		})
	}
}

// TestStartWithTokenOfAnotherAccount: what the last process remembered is on another
// account, which is no reason to take it for gone without a word. That is said once.
func TestStartWithTokenOfAnotherAccount(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		other := dosim.New(dosim.Options{Token: "others", FirstDropletID: 9000})
		defer other.Close()
		g := start(t, sim, nil)
		increase(t, g, 2)
		crash(g)
		for _, want := range []int{1, 0} {
			g = configured(t, other, options{"token": "others"})
			_, book, err := tryInit(t, g)
			if err != nil {
				t.Fatal(err)
			}
			if told := book.lines("the token is another account's than before: Droplets of this group stay on the other account"); len(told) != want || len(book.lines("droplets=2")) != want {
				t.Errorf("logged: %q", told)
			}
			crash(g)
		}
	})
}
