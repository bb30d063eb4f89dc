package main

import (
	"strings"
	"unicode/utf8"
)

// hang is a clean text as it follows a head, which may be coloured. Where a width is known, the lines that it is broken into
// begin below its first word.
func hang(head, text string, width int) string {
	line := head + " " + clean(text)
	if width > 0 {
		line = wrap(line, width, len(head)+1)
	}
	return line[len(head):]
}

// wrap breaks a line between words where it is longer than so many columns. The lines that follow the first are indented. A
// word that is too long stays whole.
func wrap(line string, columns, indent int) string {
	var b strings.Builder
	at := 0
	for i, word := range strings.Split(line, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at > indent && word != "" && at+1+n > columns:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}
