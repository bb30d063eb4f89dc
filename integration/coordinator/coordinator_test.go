package coordinator

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ask sends a request, and returns its answer; headers are name, value ...
func ask(s *Server, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/api/v4/"+path, strings.NewReader(body))
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// One life of a job, as a runner tells it.
func TestJob(t *testing.T) {
	t.Parallel()
	s := New()
	id := s.Queue(1, Job{Runner: "glrt-a", Script: []string{"echo hello"}})[0]
	patch := func(token, at, content string) *httptest.ResponseRecorder {
		return ask(s, "PATCH", fmt.Sprintf("jobs/%d/trace", id), content, "JOB-TOKEN", token, "Content-Range", at)
	}
	put := func(body string) int {
		return ask(s, "PUT", fmt.Sprintf("jobs/%d", id), `{"token":"job-token-1",`+body+`}`).Code
	}
	if got := patch("job-token-1", "0-4", "hello").Code; got != 403 {
		t.Errorf("a log of a job that nobody has: %d", got)
	}
	if got := ask(s, "POST", "jobs/request", `{"token":"glrt-b"}`).Code; got != 204 {
		t.Errorf("another runner: %d", got)
	}
	payload := ask(s, "POST", "jobs/request", `{"token":"glrt-a"}`).Body.String()
	for _, want := range []string{`"id":1`, `"script":["echo hello"]`, `{"key":"GIT_STRATEGY","public":true,"value":"none"}`} {
		if !strings.Contains(payload, want) {
			t.Errorf("the job lacks %s: %s", want, payload)
		}
	}
	for _, c := range []struct {
		token, at, content string
		status             int
		has                string // Range
	}{
		{"job-token-1", "0-4", "hello", 202, "0-5"},
		{"job-token-1", "0-4", "hello", 416, "0-5"}, // twice
		{"job-token-1", "6-7", "xx", 416, "0-5"},    // a gap
		{"job-token-1", "5-9", "x", 416, "0-5"},     // more is claimed than sent
		{"job-token-1", "5-5", "\n", 202, "0-6"},
		{"job-token-2", "6-6", "x", 403, ""},
	} {
		if got := patch(c.token, c.at, c.content); got.Code != c.status || got.Header().Get("Range") != c.has {
			t.Errorf("%s %q: %d, Range %s, want %d, %s", c.at, c.content, got.Code, got.Header().Get("Range"), c.status, c.has)
		}
	}
	for _, c := range []struct {
		body   string
		status int
	}{
		{`"state":"running"`, 200},
		{`"state":"success","output":{"checksum":"crc32:00000000","bytesize":7}`, 412}, // more than it sent
		{`"state":"success","output":{"checksum":"` + checksum([]byte("hello\n")) + `","bytesize":6}`, 200},
		{`"state":"success"`, 200}, // repeated
		{`"state":"failed"`, 403},
		{`"state":"odd"`, 400},
	} {
		if got := put(c.body); got != c.status {
			t.Errorf("%s: %d, want %d", c.body, got, c.status)
		}
	}
	if j := s.Jobs(id)[0]; j.State != "success" || string(j.Log) != "hello\n" || !j.Done() {
		t.Errorf("%+v", j)
	}
	if got := ask(s, "POST", "jobs/request", `{"token":"glrt-a"}`).Code; got != 204 {
		t.Errorf("the job is given away twice: %d", got)
	}
	if got := s.Faults(); len(got) != 5 {
		t.Errorf("faults: %q", got)
	}
	for path, want := range map[string]int{`{"token":"glrt-a"}`: 200, `{}`: 403} {
		if got := ask(s, "POST", "runners/verify", path).Code; got != want {
			t.Errorf("verify %s: %d, want %d", path, got, want)
		}
	}
}

// A runner that knows the queue waits for a job, one that does not is told at once.
func TestLongPolling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New()
		poll := func(last string) (status int, version string, took time.Duration) {
			begin := time.Now()
			r := ask(s, "POST", "jobs/request", fmt.Sprintf(`{"token":"glrt-a","last_update":%q}`, last))
			return r.Code, r.Header().Get("X-GitLab-Last-Update"), time.Since(begin)
		}
		status, version, took := poll("")
		if status != 204 || version == "" || took != 0 {
			t.Errorf("the first: %d %q after %s", status, version, took)
		}
		if status, _, took := poll(version); status != 204 || took != pollLimit {
			t.Errorf("nothing new: %d after %s", status, took)
		}
		time.AfterFunc(pollLimit/2, func() { s.Queue(1, Job{Runner: "glrt-a"}) })
		if status, _, took := poll(version); status != 201 || took != pollLimit/2 {
			t.Errorf("a new job: %d after %s", status, took)
		}
	})
}
