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
		d := diagnosis{Group: "ci", Runner: "\x1b[2J", Where: "x", out: &out}
		d.title(&terminal{colours: colours})
		d.add(&terminal{colours: colours}, doctor.Finding{Level: doctor.Fault, Where: "\x1b[31m", What: "image \x1b]0;x\a", Hint: "\x1b[7m\nmore"})
		text := strings.NewReplacer("\x1b["+bold+"m", "", "\x1b["+red+"m", "", "\x1b[0m", "").Replace(out.String())
		if strings.ContainsAny(text, "\x1b\a") || strings.Count(text, "hint: ") != 2 || colours != (text != out.String()) {
			t.Errorf("with colours %t: %q", colours, out.String())
		}
	}
}

func TestTail(t *testing.T) {
	var last tail
	for range 1000 {
		if n, err := last.Write([]byte("0123456789")); n != 10 || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, _ = last.Write([]byte("the end")); len(last) != 400 || !strings.HasSuffix(string(last), "789the end") || cap(last) > 2000 {
		t.Errorf("%d bytes of %d: %q", len(last), cap(last), last)
	}
}
