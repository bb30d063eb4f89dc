package doctor

// ownerOf returns -1: Windows has no numbers for users.
func ownerOf(string) int { return -1 }
