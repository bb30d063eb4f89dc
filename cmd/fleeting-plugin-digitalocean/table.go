package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// table shows rows, if there are any, below a head. There are tabs between their cells.
func (t *terminal) table(head string, rows []string) {
	var cells [][]string
	for _, row := range rows {
		cells = append(cells, strings.Split(row, "\t"))
	}
	if rows != nil {
		fmt.Fprint(t.out, "\n"+table(strings.Split(head, "\t"), cells, nil, columns(os.Stdout), t.colours))
	}
}

// table lays out rows below a bold head. To fit so many columns (0 = any number) it leaves out those of less, in that order,
// or, without these, goes on in the next line with what is in the last one.
func table(head []string, rows [][]string, less []string, columns int, colours bool) string {
	lines, widest := aligned(head, rows)
	for _, name := range less {
		if i := slices.Index(head, name); columns > 0 && widest > columns && i >= 0 {
			head = slices.Delete(head, i, i+1)
			for n := range rows {
				rows[n] = slices.Delete(rows[n], i, i+1)
			}
			lines, widest = aligned(head, rows)
		}
	}
	last := strings.LastIndex(lines[0], head[len(head)-1])
	var b strings.Builder
	for n, line := range lines {
		if columns > 0 && less == nil {
			line = wrap(line, columns, last)
		}
		if n == 0 {
			line = colour(colours, bold, line)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// aligned are the lines of a table, and how wide the widest is.
func aligned(head []string, rows [][]string) (lines []string, widest int) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			row[i] = clean(cell)
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a Builder takes all
	for line := range strings.Lines(text.String()) {
		line = strings.TrimRight(line, " \n")
		lines, widest = append(lines, line), max(widest, utf8.RuneCountInString(line))
	}
	return lines, widest
}
