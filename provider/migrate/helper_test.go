package migrate

import "encoding/json"

// mustJSON is v as JSON, for what always has some.
func mustJSON(t interface{ Fatal(...any) }, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
