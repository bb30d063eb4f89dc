package instancegroup

import (
	"fmt"
	"testing"
)

// Start takes over what earlier processes left, in whatever state, and shows it in
// the first Update without another list.
func TestStart(t *testing.T) {
	play(t, spec(func(s *Settings) { s.MaxInstances, s.DeadRuns = 6, []string{"dead", "dea2"} }), `
		left ci-deadrunni1 private; left ci-dea2power1 off; left ci-othestuck1 stuck
		left ci-othedoome1 doomed # its DELETE may still be carried out, under a job
		sleep 1h; left ci-dea2newbo1; stranger web fleeting-group:ci; start; counts 5
		says INFO & took over the Droplets of earlier plugin processes & droplets=3 & usd_per_hour=0.03 & ci-dea2newbo1 ci-dea2power1
		says WARN & that this host does not know & droplets=2 & usd_per_hour=0.02 & ci-othedoome1 ci-othestuck1
		update; shown 5; sent list 1 get 0 delete 2; want 1 of 2; run 45s
		told ci-deadrunni1 r; told ci-dea2newbo1 cr; told ci-dea2power1 cdx; told ci-othestuck1 ci-othedoome1 dx
		says Droplet is active # the one that this process made`)
}

// TestFindRemembered: the last process on this host was killed, and lists lack
// what it remembered. That is looked up by id, is the group's whatever its tags and
// name are now, and counts for max_instances. Its DELETE may be accepted and not
// carried out: that lists lack what was found by its id alone proves nothing then.
func TestFindRemembered(t *testing.T) {
	play(t, spec(func(s *Settings) { s.MaxInstances = 17 }), `
		= nothing happened            | what=sleep 0s, lists=1, gets=0
		= the group's tag was deleted | what=lose fleeting-group:ci, lists=2, gets=0
		= all tags were deleted       | what=lose fleeting-group:ci; lose fleeting, lists=2, gets=15
		= renamed too                 | what=lose fleeting-group:ci; rename 1-15, lists=2, gets=0
		= lists lag behind a create   | what=set createlag 1h, lists=2, gets=15
		= one of them is not listed   | what=hide 1, lists=1, gets=1
			up 15; deaf 1-15; $what; mark; takeover; sent list $lists get $gets; counts 15; want 2 of 5; run 2m; told 1-15 r
			decrease 1-15; run 3m; living 2; shown 2`)
}

// What is remembered and does not exist any more is dropped. What could not be
// looked up may exist: it counts, and is looked up later.
func TestFindRememberedIsGoneOrUnknown(t *testing.T) {
	play(t, spec(func(s *Settings) { s.MaxInstances = 4 }), `
		= 404              | are=vanish, get=ok,      n=0, room=4, told=-
		= failed, is gone  | are=vanish, get=limited, n=3, room=1, told=cx
		= failed, it lives | are=deaf,   get=lost,    n=3, room=1, told=cr
		= hangs, it lives  | are=deaf,   get=hang,    n=3, room=1, told=cr
			left ci-deadaaaaa1 hide; left ci-deadaaaaa2 hide; left ci-deadaaaaa3 hide; remember ci-deadaaaaa1 ci-deadaaaaa2 ci-deadaaaaa3
			$are all; sleep 1m; always get $get; start; counts $n; want $room of 4
			decrease ci-deadaaaaa1; run 10s; heal get; run 45s # that lists lack it proves nothing of its DELETE
			told ci-deadaaaaa2 ci-deadaaaaa3 $told # lists alone would want a minute before they mean anything`)
	play(t, spec(func(s *Settings) { s.DeadRuns = []string{"dead"} }), `
		= it gives way to one of its name that is there
			left ci-deadaaaaa1; remember ci-deadaaaaa1; vanish ci-deadaaaaa1; left ci-deadaaaaa1; sleep 1m
			always get lost; start; heal get; run 1m; living 1; told ci-deadaaaaa1 r
		= it was about to be deleted by its tag, which is seen later
			left ci-deadaaaaa1 hide doomed; remember ci-deadaaaaa1; sleep 1m; next get lost; start; run 10s; told ci-deadaaaaa1 d
		= of a run that was called as this one is
			left ci-run0aaaaa1; sleep 1m; start; run 1m; living 1; told ci-run0aaaaa1 r`)
}

// TestKilledInCreate: what the last process had sent, and had no answer for, may appear
// late. It counts for max_instances, and is settled by lists as ever.
func TestKilledInCreate(t *testing.T) {
	play(t, spec(func(s *Settings) { s.MaxInstances = 4 }), `
		= it was carried out     | what=done-lost, told=cr, more=0
		= it was not carried out | what=lost, told=cx, more=3
			set createlag 30s; next create $what; want 3; takeover; counts 3; want 1 of 4; run 2m; told 1-3 $told; want $more of 4; living 4
		= the request is under way
			next create ok+4s; go want 3; sleep 1s; saved 3; join; saved 3; next create refused; refused 1; saved 3`)
}

// Whatever becomes of the list of GPU Droplets, it keeps no group from starting
// that has no GPU size. It is logged once what that means.
func TestStartWithoutGPUList(t *testing.T) {
	const cases = `
		= refused | what=refused
		= lost    | what=lost
		= limited | what=limited
			left ci-deadaaaaa1; always GPUs $what;`
	play(t, spec(nil), "always GPUs unauthorized; start fails")
	play(t, spec(nil), cases+"start; counts 1; run 1m; says WARN & GPU Droplets cannot be listed")
	play(t, spec(func(s *Settings) { s.GPUs = true }), cases+"start fails")
}

// GPU Droplets of an earlier process stay visible although no size is a GPU size
// any more: a list without them would call them gone once they are deleted.
func TestGPUDropletsOfEarlierRun(t *testing.T) {
	play(t, spec(nil), `
		= listed             | lag=0s
		= found by their ids | lag=65s
			left ci-deadaaaaa1 gpu deaf; set createlag $lag; sleep 1m; remember ci-deadaaaaa1; start; run 10s; mark; run 80s
			decrease ci-deadaaaaa1; run 30s; told ci-deadaaaaa1 rd; run 1m; told ci-deadaaaaa1 rdx; sent get 0 # lists can show it`)
}

// Lists lag: what was taken over and is gone may be in a later list again. It is
// not shown as a new instance.
func TestGoneIsNotTakenOverAgain(t *testing.T) {
	play(t, spec(nil), `
		left ci-deadaaaaa1; sleep 1m; start; run 4s; decrease ci-deadaaaaa1; run 10s
		set deletelag 1m; run 10s; set deletelag 0s; run 10s; told ci-deadaaaaa1 rdx; counts 0 # the list of another replica`)
}

// TestForget: what the last process remembered turns out to be on another account.
func TestForget(t *testing.T) {
	unstarted(t, spec(nil), func(r *runner) {
		remembered := map[string]int64{}
		for i := range findsAtOnce + 10 { // more than Find looks up
			remembered[fmt.Sprintf("ci-dead%06d", i)] = int64(1000 + i)
		}
		f, err := Find(ctx, r.account, r.log, "ci", false, remembered)
		equal(t, "error of Find", nil, err)
		equal(t, "unless it is forgotten", 10, Start(r.Settings, r.account, r.log, f).Count())
		f.Forget()
		equal(t, "forgotten", 0, Start(r.Settings, r.account, r.log, f).Count())
	})
}
