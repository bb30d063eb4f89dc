package instancegroup

import "testing"

// TestDeleteByTag: many Droplets are deleted by a tag of this process, a request for each
// 100 and one more; few by their ids. Nothing that lives on is ever tagged, which each
// Update looks for.
func TestDeleteByTag(t *testing.T) {
	play(t, spec(nil), `
		= ten              | n=10,  all=15,  left=5000, tagging=0, bulk=0, delete=10
		= eleven           | n=11,  all=16,  left=5000, tagging=1, bulk=1, delete=0
		= a hundred        | n=101, all=106, left=5000, tagging=2, bulk=1, delete=0
		= two are scarce   | n=2,   all=7,   left=2500, tagging=0, bulk=0, delete=2
		= three are scarce | n=3,   all=8,   left=2500, tagging=1, bulk=1, delete=0
			up $all; set left $left; run 10s; mark; decrease 1-$n; run 30s
			sent tagging $tagging bulk $bulk delete $delete; living 5; told 1-$n crdx
		= the first request to tag makes the tag
			up 200; mark; decrease 1-200; times list 0s; times tagging 50ms 100ms; times bulk 150ms
		= what was not carried out goes by id, after a minute
			up 25; deaf 1-20; mark; decrease 1-20; run 50s; sent tagging 1 bulk 1 delete 0
			run 40s; sent tagging 1 bulk 1 delete 20; living 5; told 1-20 crdx`)
}

// Whatever refuses the tag, or does not answer, all are deleted by id, in the same
// call, and the tag is not tried again for five minutes.
func TestDeleteByTagFallsBack(t *testing.T) {
	play(t, spec(nil), `
		= tagging is refused  | op=tagging, what=forbidden
		= tagging hangs       | op=tagging, what=hang
		= deleting is refused | op=bulk,    what=missing
		= deleting is lost    | op=bulk,    what=done-lost
		= deleting hangs      | op=bulk,    what=hang
			up 36; always $op $what; mark; run 4s; decrease 1-12; sent $op 1
			sleep 280s; run 4s; decrease 13-24; sent $op 1
			sleep 20s; run 4s; decrease 25-36; sent $op 2; run 20s; living 0
			says 2x WARN & could not be deleted by one tag & tag=fleeting-delete:ci
		= one of two requests to tag
			up 150; mark; next tagging ok lost; decrease 1-150; sent tagging 2 bulk 0 delete 150; run 20s; living 0`)
}

// When requests are scarce deletes wait for each other, and leave by one tag
// without another call of the runner: with the first Update 15 s after the first
// of them. With requests to spare each leaves at once.
func TestDeletesGather(t *testing.T) {
	play(t, spec(nil), `
		= when requests are scarce
			up 140; set left 2500; run 10s; mark
			decrease 1; decrease 1; run 3s; decrease 2; decrease 2; run 3s; decrease 3; run 3s; decrease 4; run 3s
			sent tagging 0 bulk 0 delete 0; run 3s; sent tagging 1 bulk 1 delete 0
			mark; decrease 5-140; run 14s; sent tagging 0 bulk 0 delete 0; run 4s; sent tagging 2 bulk 1 delete 0; run 20s; living 0
		= with requests to spare
			up 5; set left 2501; run 10s; mark; decrease 1-5; sent delete 5
		= a tag is of no use
			up 20; always tagging forbidden; set left 2500; run 10s; mark
			decrease 1-5; run 18s; decrease 6-7; sent tagging 1 bulk 0 delete 7
		= until Shutdown
			set left 2500; run 10s; up 20; decrease 1-20; mark; stop clean; took 0s 8s; living 0; sent tagging 1 bulk 1 delete 0`)
}

// Nothing is deleted by a tag that anything else has, and deletes do not wait for the
// list that shows it.
func TestDeleteTagOnOthers(t *testing.T) {
	play(t, spec(nil), `
		= a name of its own   | name=ci-database,     tags=fleeting fleeting-group:ci
		= only that tag       | name=web,             tags=
		= another group's     | name=big-run0aaaaa1,  tags=fleeting fleeting-group:big
		= a person's, of ours | name=ci-deadaaaaa1,   tags=fleeting fleeting-group:ci fleeting-keep
			up 12; stranger $name fleeting-delete:ci $tags; mark; decrease 1-12; sent tagging 0 bulk 0 delete 12
			run 20s; living 0; says WARN & could not be deleted by one tag & $name
		= later
			up 24; mark; decrease 1-12; stranger web fleeting-delete:ci
			decrease 13-24; run 20s; sent tagging 1 bulk 1 delete 12; living 0
		= later, while requests are scarce
			up 36; set left 2500; run 10s; mark; decrease 1-12; run 18s; decrease 13-24; run 18s; listed fleeting-delete:ci 1
			stranger ci-database fleeting fleeting-group:ci fleeting-delete:ci; run 10s
			decrease 25-36; run 20s; sent tagging 2 bulk 2 delete 12; living 0
		= no request is left for a list
			up 24; always list limited; mark; decrease 1-12; sent tagging 1 bulk 1 delete 0
			heal list; stranger web fleeting-delete:ci; decrease 13-24; sent tagging 1 bulk 1 delete 12`)
}
