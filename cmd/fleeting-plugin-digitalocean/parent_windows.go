package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// parent is a handle of the runner, opened at start: a process id alone may be
// given to another process later.
var parent, parentErr = windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(os.Getppid()))

// ignoreSignals does nothing: Windows has none of those that matter here.
func ignoreSignals() {}

// parentGone returns when the parent has died. Without a handle it never does.
func parentGone() {
	if parentErr != nil {
		select {}
	}
	windows.WaitForSingleObject(parent, windows.INFINITE)
}
