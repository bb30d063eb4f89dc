package main

import (
	"strings"
	"testing"
)

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		line   string
		indent int
		want   string
	}{
		{"", 2, ""},
		{"just twelve!", 2, "just twelve!"},
		{"one more than that", 2, "one more\n  than that"},
		{"note     three words of text", 9, "note     three\n         words\n         of\n         text"},
		{"über älteren Bäumen", 0, "über älteren\nBäumen"},
		{"see https://example.com/a/long/way now", 2, "see\n  https://example.com/a/long/way\n  now"},
	} {
		got := wrap(tt.line, 12, tt.indent)
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
		}
		if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(tt.line), " ") {
			t.Errorf("%q lost words: %q", tt.line, got)
		}
	}
}
