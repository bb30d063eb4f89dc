package migrate

import (
	"errors"
	"regexp"
	"strings"
)

// cronField matches what both read alike: *, numbers and names, in lists and ranges.
var cronField = regexp.MustCompile(`^(\*|(\d+|[a-z]{3,})([,-](\d+|[a-z]{3,}))*)$`)

var longName = regexp.MustCompile(`([a-z]{3})[a-z]+`)

// newPeriod returns the period of the autoscaler, of five fields, that contains the same minutes as one of docker+machine,
// of seven. What the two read differently, or one of them alone, is an error.
func newPeriod(old string) (string, error) {
	f := strings.Fields(strings.ReplaceAll(strings.ToLower(old), "?", "*"))
	if len(f) != 7 {
		return "", errors.New("not the 7 fields from second to year")
	}
	second, day, weekday, year := f[0], f[3], f[5], f[6]
	if second != "*" || year != "*" {
		return "", errors.New("the autoscaler knows neither seconds nor years")
	}
	if day != "*" && weekday != "*" {
		return "", errors.New("docker+machine took a day that either field names, the autoscaler one that both name: write two periods")
	}
	for _, field := range f[1:6] {
		if !cronField.MatchString(field) {
			return "", errors.New("the autoscaler reads " + field + " differently, or not at all: write a list")
		}
	}
	return longName.ReplaceAllString(strings.Join(f[1:6], " "), "$1"), nil
}
