package main

// ignoreSignals does nothing: Windows has none of those that matter here.
func ignoreSignals() {}
