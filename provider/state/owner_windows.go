package state

import "io/fs"

// OwnerOf knows nothing: a user's own directory is closed to others by its access
// control list.
func OwnerOf(fs.FileInfo) (uid int, ok bool) { return 0, false }
