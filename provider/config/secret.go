package config

import (
	"fmt"
	"io"
)

// Secret holds a string that must not reach a log, an error or a file. However it is printed or marshalled, alone or
// inside another value, it comes out as "[secret]", or as nothing when it is empty. The zero Secret is empty.
type Secret struct {
	value *string // of a string in an unexported field of somebody else's struct fmt prints the memory; of a pointer, the address
}

// NewSecret returns a Secret that holds value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{&value}
}

// Reveal returns the string itself. It belongs only where the string is sent.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Equal reports whether both hold the same string; == compares identity.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

func (s Secret) String() string {
	if s.value == nil {
		return ""
	}
	return "[secret]"
}

// Format covers every verb of fmt, also those that do not fit a string.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText covers JSON, XML, slog and whatever else is made of text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
