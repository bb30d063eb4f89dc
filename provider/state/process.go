package state

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// process is one process of this host. Its pid alone may come to be another's.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start,omitempty"` // as /proc has it; "" = unknown
}

// holder is the process that holds a lock, and the runner that started it.
type holder struct {
	process
	Runner process `json:"runner"`
}

// procfs is the path of /proc, which not every system has.
type procfs string

// maxShells is how many shells may stand between a runner and its plugin.
const maxShells = 4

func (fs procfs) self() holder {
	me, _, ok := fs.read(os.Getpid())
	if !ok {
		return holder{process{PID: os.Getpid()}, process{PID: os.Getppid()}}
	}
	runner, _ := fs.runnerOf(me.PID)
	return holder{me, runner}
}

// describe finds out what the holder of a lock is.
func (fs procfs) describe(h holder) *HeldError {
	if h.PID <= 0 || !fs.lives(h.process) {
		return &HeldError{} // not the holder any more, or not yet
	}
	e := &HeldError{PID: h.PID}
	if now, ok := fs.runnerOf(h.PID); ok {
		e.Orphan = now != h.Runner
	} else {
		e.Orphan = !fs.lives(h.Runner)
	}
	e.Sibling = !e.Orphan && h.Runner.PID > 0 && h.Runner == fs.self().Runner
	return e
}

// runnerOf returns the process that started a plugin: the first above it that is no
// shell, for a plugin may be wrapped in a script.
func (fs procfs) runnerOf(pid int) (runner process, ok bool) {
	_, parent, ok := fs.read(pid)
	for range maxShells {
		_, above, known := fs.read(parent)
		if !known || !fs.isShell(parent) {
			break
		}
		parent = above
	}
	runner, _, known := fs.read(parent)
	if !known {
		runner = process{PID: parent} // of another user, or outside of this container
	}
	return runner, ok
}

// lives reports whether a process still runs.
func (fs procfs) lives(p process) bool {
	if now, _, ok := fs.read(p.PID); ok && p.Start != "" {
		return now == p
	}
	found, err := os.FindProcess(p.PID)
	if err != nil {
		return false
	}
	err = found.Signal(syscall.Signal(0))
	_ = found.Release()
	return !errors.Is(err, os.ErrProcessDone)
}

// read returns a process and the pid of its parent.
func (fs procfs) read(pid int) (p process, parent int, ok bool) {
	content, err := os.ReadFile(fs.path(pid, "stat"))
	if err != nil {
		return process{}, 0, false
	}
	// The second field is the program's name, in parentheses, and may hold any byte.
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
	const ppid, starttime = 4 - 3, 22 - 3 // see proc_pid_stat(5)
	if len(fields) <= starttime {
		return process{}, 0, false
	}
	parent, err = strconv.Atoi(fields[ppid])
	return process{PID: pid, Start: fields[starttime]}, parent, err == nil
}

func (fs procfs) isShell(pid int) bool {
	program, err := os.Readlink(fs.path(pid, "exe"))
	return err == nil && slices.Contains([]string{"sh", "ash", "bash", "busybox", "dash", "ksh", "mksh", "zsh"}, filepath.Base(program))
}

func (fs procfs) path(pid int, name string) string {
	return filepath.Join(string(fs), strconv.Itoa(pid), name)
}
