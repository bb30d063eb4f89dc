package state

import "io/fs"

// checkOwner has nothing to check: a user's own directory is closed to others by its
// access control list.
func checkOwner(string, fs.FileInfo, fs.FileMode) error { return nil }
