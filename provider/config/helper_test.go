package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
)

// minimal is the shortest plugin_config that is accepted.
const minimal = `{"name": "ci", "token": "dop_v1_minimal", "region": "nyc3", "size": "s-2vcpu-4gb", "image": "debian-13-x64"}`

// minimalAnd returns minimal with the members of the JSON object change added, or in the place of their namesakes, which
// null removes.
func minimalAnd(t testing.TB, change string) []byte {
	t.Helper()
	var base, changes map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal([]byte(minimal), &base), json.Unmarshal([]byte(change), &changes)); err != nil {
		t.Fatalf("%s: %v", change, err)
	}
	for name := range changes {
		delete(base, strings.ToLower(name))
	}
	maps.Copy(base, changes)
	maps.DeleteFunc(base, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	data, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// emptyHost has no environment variables and no files.
var emptyHost = hostWith(nil, nil)

// hostWith returns a host with these environment variables and files.
func hostWith(env, files map[string]string) Host {
	return Host{
		Getenv: func(name string) string { return env[name] },
		ReadFile: func(path string, limit int64) ([]byte, error) {
			content, ok := files[path]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
			}
			if int64(len(content)) > limit {
				return nil, errors.New("it is too large")
			}
			return []byte(content), nil
		},
	}
}

// accept returns the Config of minimal with a change.
func accept(t *testing.T, change string, host Host) Config {
	t.Helper()
	config, err := Parse(minimalAnd(t, change), host)
	if err != nil {
		t.Fatalf("%s was refused:\n%v", change, err)
	}
	return config
}

// faultsOf panics unless the error is what Parse promises.
func faultsOf(err error) Faults {
	faults, ok := errors.AsType[Faults](err)
	if !ok || len(faults) == 0 {
		panic(fmt.Sprintf("the error is a %T: %v", err, err))
	}
	return faults
}
