package main

import (
	"io/fs"
	"os"
)

// keepOwner has nothing to do: a new file has its directory's owner and rights.
func keepOwner(*os.File, fs.FileInfo) error { return nil }
