package state

import "io/fs"

// ownerOf knows nothing: a user's own directory is closed to others by its access
// control list.
func ownerOf(fs.FileInfo) (uid int, ok bool) { return 0, false }
