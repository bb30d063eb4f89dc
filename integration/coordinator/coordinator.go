// Package coordinator is the part of GitLab that a runner talks to: it hands out jobs, takes their logs and hears how
// they end. It keeps what it sees with the time of it, and what a runner should not do.
package coordinator

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pollLimit is how long a runner waits for a job in one request. GitLab's is 50 s; a runner with several [[runners]] asks
// for each in turn, so it is short.
const pollLimit = time.Second

// Job is one job, and what became of it.
type Job struct {
	ID     int
	Runner string // the token of the runner that it is for
	Image  string // of docker-autoscaler; "" is the runner's
	Script []string

	Queued, Taken, Finished time.Time // zero: not yet
	State                   string    // pending, running, success or failed
	Reason                  string    // why it failed, in the runner's word
	Log                     []byte
}

// Done reports whether the job has ended.
func (j Job) Done() bool { return !j.Finished.IsZero() }

// Server is a coordinator. All its methods are safe for concurrent use.
type Server struct {
	*http.ServeMux

	mu      sync.Mutex // guards all below
	jobs    []*Job     // by id, from 1
	queued  chan struct{}
	version int // of the queue: X-GitLab-Last-Update
	faults  []string
}

// New returns a coordinator without jobs.
func New() *Server {
	s := &Server{ServeMux: http.NewServeMux(), queued: make(chan struct{})}
	s.HandleFunc("POST /api/v4/runners/verify", verify)
	s.HandleFunc("POST /api/v4/jobs/request", s.request)
	s.HandleFunc("PUT /api/v4/jobs/{id}", s.update)
	s.HandleFunc("PATCH /api/v4/jobs/{id}/trace", s.trace)
	return s
}

// Queue adds n jobs for a runner, and returns their ids.
func (s *Server) Queue(n int, job Job) (ids []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		j := job
		j.ID, j.State, j.Queued = len(s.jobs)+1, "pending", time.Now()
		s.jobs = append(s.jobs, &j)
		ids = append(ids, j.ID)
	}
	s.version++
	close(s.queued)
	s.queued = make(chan struct{})
	return ids
}

// Jobs returns the jobs of these ids as they are now.
func (s *Server) Jobs(ids ...int) (jobs []Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		j := *s.jobs[id-1]
		j.Log = slices.Clone(j.Log)
		jobs = append(jobs, j)
	}
	return jobs
}

// Faults are what a runner did and should not have done.
func (s *Server) Faults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

// fault records one, and refuses the request. Callers hold s.mu.
func (s *Server) fault(w http.ResponseWriter, status int, format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
	w.WriteHeader(status)
}

// runner is the token of the runner that asks, and the version of the queue that it has seen. One without a token is refused.
func runner(w http.ResponseWriter, r *http.Request) (token, seen string) {
	var q struct {
		Token string
		Seen  string `json:"last_update"`
	}
	if json.NewDecoder(r.Body).Decode(&q) != nil || q.Token == "" {
		w.WriteHeader(http.StatusForbidden)
	}
	return q.Token, q.Seen
}

// verify knows every runner: a configuration's token is not what is tested.
func verify(w http.ResponseWriter, r *http.Request) {
	if token, _ := runner(w, r); token != "" {
		reply(w, http.StatusOK, map[string]any{"id": 1, "token": token, "token_expires_at": nil})
	}
}

// request hands out the oldest job for a runner. Where there is none, one that has seen the queue as it is waits.
func (s *Server) request(w http.ResponseWriter, r *http.Request) {
	token, seen := runner(w, r)
	for limit := time.After(pollLimit); token != ""; {
		s.mu.Lock()
		job, version, queued := s.take(token), strconv.Itoa(s.version), s.queued
		s.mu.Unlock()
		if job != nil {
			reply(w, http.StatusCreated, job)
			return
		}
		w.Header().Set("X-GitLab-Last-Update", version)
		if seen == version {
			select {
			case <-queued:
				continue
			case <-r.Context().Done():
			case <-limit:
			}
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
}

// take returns the payload of a runner's next job; nil where there is none. Callers hold s.mu.
func (s *Server) take(runner string) map[string]any {
	i := slices.IndexFunc(s.jobs, func(j *Job) bool { return j.Runner == runner && j.Taken.IsZero() })
	if i < 0 {
		return nil
	}
	j := s.jobs[i]
	j.Taken, j.State = time.Now(), "running"
	variable := func(key, value string) map[string]any {
		return map[string]any{"key": key, "value": value, "public": true}
	}
	var image any
	if j.Image != "" {
		image = map[string]any{"name": j.Image}
	}
	return map[string]any{
		"id": j.ID, "token": jobToken(j.ID), "allow_git_fetch": false,
		"job_info": map[string]any{
			"name": fmt.Sprintf("job-%d", j.ID), "stage": "test", "project_id": 1, "project_name": "project",
			"time_in_queue_seconds": j.Taken.Sub(j.Queued).Seconds(),
		},
		"git_info": map[string]any{
			"repo_url": "http://127.0.0.1/group/project.git", "ref": "main", "ref_type": "branch",
			"sha": strings.Repeat("1", 40), "before_sha": strings.Repeat("0", 40), "refspecs": []string{}, "depth": 1,
		},
		"runner_info": map[string]any{"timeout": 600},
		"variables": []any{
			variable("GIT_STRATEGY", "none"), variable("FF_TIMESTAMPS", "false"), // logs are what scripts print
			variable("CI_PROJECT_PATH", "group/project"), variable("CI_JOB_ID", strconv.Itoa(j.ID)),
		},
		"steps": []any{map[string]any{
			"name": "script", "script": j.Script, "timeout": 600, "when": "on_success", "allow_failure": false,
		}},
		"image": image, "services": []any{}, "artifacts": nil, "cache": []any{}, "credentials": []any{}, "dependencies": []any{},
		"features": map[string]any{"trace_sections": false, "failure_reasons": []string{"script_failure", "runner_system_failure"}},
	}
}

func jobToken(id int) string { return fmt.Sprintf("job-token-%d", id) }

// job returns the job of a request that bears its token, or refuses the request. Callers hold s.mu.
func (s *Server) job(w http.ResponseWriter, r *http.Request, token string) *Job {
	id, err := strconv.Atoi(r.PathValue("id"))
	switch {
	case err != nil || id < 1 || id > len(s.jobs):
		s.fault(w, http.StatusNotFound, "%s %s: there is no such job", r.Method, r.URL.Path)
	case token != jobToken(id):
		s.fault(w, http.StatusForbidden, "%s %s came with another token than the job's", r.Method, r.URL.Path)
	case s.jobs[id-1].Taken.IsZero():
		s.fault(w, http.StatusForbidden, "job %d is updated, but was given to nobody", id)
	default:
		w.Header().Set("Job-Status", s.jobs[id-1].State)
		return s.jobs[id-1]
	}
	return nil
}

// update hears that a job goes on, or how it ended.
func (s *Server) update(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Token, State string
		Reason       string `json:"failure_reason"`
		Output       struct {
			Checksum string
			Bytesize *int
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job(w, r, q.Token)
	switch {
	case j == nil || q.State == "running":
		return
	case q.State != "success" && q.State != "failed":
		s.fault(w, http.StatusBadRequest, "job %d is said to be %q", j.ID, q.State)
		return
	case j.Done() && j.State != q.State:
		s.fault(w, http.StatusForbidden, "job %d ended twice: %s, then %s", j.ID, j.State, q.State)
		return
	case q.Output.Bytesize != nil && (*q.Output.Bytesize != len(j.Log) || q.Output.Checksum != checksum(j.Log)):
		// The runner is to send the log again.
		s.fault(w, http.StatusPreconditionFailed, "job %d has %d bytes of log, with %s; the runner sent %d, with %s",
			j.ID, *q.Output.Bytesize, q.Output.Checksum, len(j.Log), checksum(j.Log))
		return
	}
	if !j.Done() {
		j.Finished = time.Now()
	}
	j.State, j.Reason = q.State, q.Reason
	w.Header().Set("Job-Status", j.State)
}

func checksum(log []byte) string { return fmt.Sprintf("crc32:%08x", crc32.ChecksumIEEE(log)) }

// trace appends to a job's log what begins where that ends.
func (s *Server) trace(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return // the runner went away
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job(w, r, r.Header.Get("JOB-TOKEN"))
	if j == nil {
		return
	}
	status := http.StatusAccepted
	var from, to int
	if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "%d-%d", &from, &to); err != nil || to-from+1 != len(content) || from != len(j.Log) {
		status = http.StatusRequestedRangeNotSatisfiable
	} else {
		j.Log = append(j.Log, content...)
	}
	w.Header().Set("Range", fmt.Sprintf("0-%d", len(j.Log)))
	w.Header().Set("X-GitLab-Trace-Update-Interval", "1")
	w.WriteHeader(status)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a runner that went away
}
