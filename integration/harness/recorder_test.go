package harness

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A job's and a Droplet's way through a run, as the samples show it.
func TestSamplesFollowDropletsAndJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		one, two := job{id: 1}, job{id: 2}
		see := func(what string, want Sample) {
			t.Helper()
			want.At = time.Since(r.begin)
			if diff := cmp.Diff(want, r.sample(0, nil, 0)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", what, diff)
			}
			time.Sleep(time.Second)
		}

		see("nothing yet", Sample{})
		r.jobQueued(one)
		r.jobQueued(two)
		see("two jobs in the queue", Sample{Queued: 2})
		r.dropletCreated("ci-a")
		r.dropletCreated("ci-b")
		see("two Droplets on their way", Sample{Queued: 2, Creating: 2})
		if r.settled() {
			t.Error("settled while Droplets are created")
		}
		r.dropletReady("ci-a")
		see("one is ready", Sample{Queued: 2, Creating: 1, Idle: 1})
		r.jobStarted(one, "ci-a")
		r.jobStarted(two, "ci-a")
		see("and takes both jobs", Sample{Running: 2, Creating: 1, Busy: 1})
		r.jobFinished(one, nil)
		see("it is busy until the last has ended", Sample{Running: 1, Done: 1, Creating: 1, Busy: 1})
		r.jobFinished(two, errors.New("exit status 1"))
		see("both ended", Sample{Done: 1, Failed: 1, Creating: 1, Idle: 1})
		r.dropletsDeleting([]string{"ci-a", "ci-b", "ci-unheard-of"})
		see("both are given up", Sample{Done: 1, Failed: 1, Deleting: 2})
		if !r.settled() {
			t.Error("not settled although nothing is created any more")
		}
		r.dropletReady("ci-b")
		see("one that is given up does not come back", Sample{Done: 1, Failed: 1, Deleting: 2})
		r.dropletGone("ci-a")
		r.dropletGone("ci-b")
		see("gone", Sample{Done: 1, Failed: 1})

		want := []JobResult{
			{ID: 1, Droplet: "ci-a", Queued: 1 * time.Second, Started: 4 * time.Second, Finished: 5 * time.Second},
			{ID: 2, Droplet: "ci-a", Queued: 1 * time.Second, Started: 4 * time.Second, Finished: 6 * time.Second, Error: "exit status 1"},
		}
		if diff := cmp.Diff(want, r.results()); diff != "" {
			t.Errorf("results, -want +got:\n%s", diff)
		}
	})
}
