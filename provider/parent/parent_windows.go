// Package parent notices that the runner that started this plugin has died.
package parent

import (
	"os"

	"golang.org/x/sys/windows"
)

// handle is opened at start: a process id alone may be given to another process later.
var handle, handleErr = windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(os.Getppid()))

// Gone returns when the parent has died. Without a handle it never does.
func Gone() {
	if handleErr != nil {
		select {}
	}
	_, _ = windows.WaitForSingleObject(handle, windows.INFINITE)
}
