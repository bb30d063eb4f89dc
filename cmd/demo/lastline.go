package main

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
)

// lastLine is a log sink that keeps the plugin's last line worth reading.
type lastLine struct {
	line atomic.Pointer[string]
}

// Accept implements hclog.SinkAdapter.
func (l *lastLine) Accept(name string, level hclog.Level, msg string, args ...any) {
	if level < hclog.Info || !strings.HasPrefix(name, "fleeting-plugin") {
		return
	}
	line := msg
	for i := 0; i+1 < len(args); i += 2 {
		if key := fmt.Sprint(args[i]); key != "timestamp" {
			line += fmt.Sprintf(" %s=%v", key, args[i+1])
		}
	}
	l.line.Store(&line)
}

func (l *lastLine) text() string {
	if line := l.line.Load(); line != nil {
		return *line
	}
	return "-"
}
