//go:build unix

package guest_test

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// A Droplet accepts just the keys it was created with.
func TestLogin(t *testing.T) {
	f := newFleet(t)
	first, second, other := newKey(t), newKey(t), newKey(t)
	start(t, f, guest.Spec{
		ID: 1, Name: "ci-1", Addrs: addrs(addr), User: "deploy",
		AuthorizedKeys: []string{first.authorized, second.authorized},
	})

	tests := map[string]struct {
		user string
		auth ssh.AuthMethod
		want bool
	}{
		"the first key":                 {"deploy", ssh.PublicKeys(first.signer), true},
		"the second key":                {"deploy", ssh.PublicKeys(second.signer), true},
		"a wrong key, then a right one": {"deploy", ssh.PublicKeys(other.signer, first.signer), true},
		"a wrong key":                   {"deploy", ssh.PublicKeys(other.signer), false},
		"another user":                  {"root", ssh.PublicKeys(first.signer), false},
		"a password":                    {"deploy", ssh.Password("secret"), false},
		"an empty password":             {"deploy", ssh.Password(""), false},
		"nothing at all":                {"deploy", nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var auth []ssh.AuthMethod
			if tt.auth != nil {
				auth = append(auth, tt.auth)
			}
			_, err := dialSSH(t, f, tt.user, auth...)
			switch {
			case tt.want && err != nil:
				t.Errorf("refused: %v", err)
			case !tt.want && err == nil:
				t.Error("accepted")
			case !tt.want && !strings.Contains(err.Error(), "unable to authenticate"):
				t.Errorf("refused for another reason: %v", err)
			}
		})
	}
}

func TestADropletWithoutKeysLetsNobodyIn(t *testing.T) {
	f := newFleet(t)
	start(t, f, guest.Spec{ID: 1, Name: "ci-1", Addrs: addrs(addr)})
	if _, err := dialSSH(t, f, "root", ssh.PublicKeys(newKey(t).signer)); err == nil {
		t.Error("accepted")
	}
}
