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

// One life of a job, as a runner tells it, with what it should not.
func TestJob(t *testing.T) {
	t.Parallel()
	s := New()
	s.Queue(1, Job{Runner: "glrt-a", Script: []string{"echo hello"}})
	sum := `,"output":{"checksum":"` + checksum([]byte("hello\n")) + `","bytesize":6}`
	for _, c := range []struct {
		method, path, body, token, at string
		status                        int
		says                          string // in the body, or as Range
	}{
		{"PATCH", "jobs/1/trace", "hello", "job-token-1", "0-4", 403, ""}, // nobody has it
		{"POST", "jobs/request", `{"token":"glrt-b"}`, "", "", 204, ""},
		{"POST", "jobs/request", `{"token":"glrt-a"}`, "", "", 201, `"script":["echo hello"]`},
		{"POST", "jobs/request", `{"token":"glrt-a"}`, "", "", 204, ""},
		{"PATCH", "jobs/1/trace", "hello", "job-token-1", "0-4", 202, "0-5"},
		{"PATCH", "jobs/1/trace", "hello", "job-token-1", "0-4", 416, "0-5"}, // twice
		{"PATCH", "jobs/1/trace", "xx", "job-token-1", "6-7", 416, "0-5"},    // a gap
		{"PATCH", "jobs/1/trace", "x", "job-token-1", "5-9", 416, "0-5"},     // more is claimed than sent
		{"PATCH", "jobs/1/trace", "\n", "job-token-1", "5-5", 202, "0-6"},
		{"PATCH", "jobs/1/trace", "x", "job-token-2", "6-6", 403, ""},
		{"PUT", "jobs/1", `{"token":"job-token-1","state":"running"}`, "", "", 200, ""},
		{"PUT", "jobs/1", `{"token":"job-token-1","state":"success","output":{"checksum":"crc32:00000000","bytesize":7}}`, "", "", 412, ""},
		{"PUT", "jobs/1", `{"token":"job-token-1","state":"success"` + sum + `}`, "", "", 200, ""},
		{"PUT", "jobs/1", `{"token":"job-token-1","state":"success"}`, "", "", 200, ""}, // repeated
		{"PUT", "jobs/1", `{"token":"job-token-1","state":"failed"}`, "", "", 403, ""},
		{"PUT", "jobs/1", `{"token":"job-token-1","state":"odd"}`, "", "", 400, ""},
		{"POST", "runners/verify", `{"token":"glrt-a"}`, "", "", 200, `"token":"glrt-a"`},
		{"POST", "runners/verify", `{}`, "", "", 403, ""},
	} {
		got := ask(s, c.method, c.path, c.body, "JOB-TOKEN", c.token, "Content-Range", c.at)
		if got.Code != c.status || !strings.Contains(got.Body.String()+got.Header().Get("Range"), c.says) {
			t.Errorf("%s %s %q: %d %v %s, want %d %s", c.method, c.path, c.body, got.Code, got.Header(), got.Body, c.status, c.says)
		}
	}
	if j := s.Jobs(1)[0]; j.State != "success" || string(j.Log) != "hello\n" || !j.Done() || len(s.Faults()) != 5 {
		t.Errorf("%+v, faults %q", j, s.Faults())
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
