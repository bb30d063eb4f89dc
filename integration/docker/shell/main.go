// Command shell is all that there is in the image of the jobs: it runs a script from stdin, one command a line, and
// fails with the first that fails.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		verb, arg, _ := strings.Cut(lines.Text(), " ")
		if err := do(verb, arg); err != nil {
			fmt.Fprintln(os.Stderr, "shell:", err)
			os.Exit(1)
		}
	}
}

func do(verb, arg string) error {
	switch verb {
	case "echo":
		fmt.Println(arg)
	case "complain": // echo, to stderr
		fmt.Fprintln(os.Stderr, arg)
	case "exit":
		status, err := strconv.Atoi(arg)
		if err == nil {
			os.Exit(status)
		}
		return err
	case "sleep": // for seconds
		d, err := time.ParseDuration(arg + "s")
		time.Sleep(d)
		return err
	case "touch":
		return os.WriteFile(arg, nil, 0o600)
	case "await": // a file
		for {
			if _, err := os.Stat(arg); err == nil {
				return nil
			}
			time.Sleep(20 * time.Millisecond)
		}
	case "ls":
		entries, err := os.ReadDir(arg)
		for _, e := range entries {
			fmt.Println(e.Name())
		}
		return err
	default:
		return fmt.Errorf("%s: not found", verb)
	}
	return nil
}
