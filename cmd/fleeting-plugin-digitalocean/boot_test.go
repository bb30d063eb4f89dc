package main

import (
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
)

// Names from elsewhere cannot play tricks with a terminal, and colours are for one.
func TestFindingsAreClean(t *testing.T) {
	for _, colours := range []bool{false, true} {
		var out strings.Builder
		new(diagnosis).add(&terminal{out: &out, colours: colours}, doctor.Finding{Level: doctor.Fault, Where: "\x1b[31m", What: "image \x1b]0;x\a", Hint: "\x1b[7m\nmore"})
		text := strings.NewReplacer("\x1b["+red+"m", "", "\x1b[0m", "").Replace(out.String())
		if strings.ContainsAny(text, "\x1b\a") || strings.Count(text, "hint: ") != 2 || colours != (text != out.String()) {
			t.Errorf("with colours %t: %q", colours, out.String())
		}
	}
}
