package instancegroup

import "testing"

// What DigitalOcean accepted, or does not exist, or what there was no time to send, is
// returned without an error; the rest stays marked. All is deleted by Update, even if the
// runner never asks again.
func TestDecreasePartly(t *testing.T) {
	play(t, spec(nil), `
		decrease; decrease ci-nosuch0000 other; sent delete 0
		up 3; next delete lost; decrease 2 of 1-3; update; told 1-3 crd; run 15s; told 1-3 crdx
		up 13; always tagging hang; always delete hang; decrease 3 of 4-16; heal delete; run 20s; told 4-16 crdx; living 0`)
}

// The runner repeats a failed Decrease in every loop. DELETEs are sent at their own
// pace all the same: refused ones after 5 s, doubling to 5 min, until they are accepted;
// one that was accepted and is not carried out after 60 s, doubling to 10 min, whether or
// not the runner asks again.
func TestDeletesArePaced(t *testing.T) {
	play(t, spec(nil), `
		= refused
			set latency 0s; up 1; always delete refused; mark; repeat 1s 17m undecreased 1
			times delete 0s 5s 15s 35s 1m15s 2m35s 5m15s 10m15s 15m15s
			says WARN & did not delete & times=4 & request_id=req-42; heal delete; run 4m; told 1 crdx
		= ignored             | asks=update
		= ignored, and asked  | asks=decrease 1
			set latency 0s; up 1; deaf5 1; sleep 1s; mark; decrease 1; repeat 1s 30m $asks + run 10s
			times delete/10s 0s 1m0s 3m0s 7m0s 15m0s 25m0s; told 1 crdx
			says 5x WARN & accepted the deletion of a Droplet and did not carry it out & usd_per_hour=0.01`)
}

// A DELETE whose answer is lost is not sent twice at once by Decrease and Update.
func TestDeleteIsClaimed(t *testing.T) {
	play(t, spec(nil), `up 1; next delete hang; go undecreased 1; run 10s; sent delete 1; join; run 20s; told 1 crdx`)
}

// What the token cannot afford waits for its next request, by tag or by id. That
// is no error, since nobody refused it, nor does it slow what follows.
func TestRateLimitedDeletesWait(t *testing.T) {
	play(t, spec(nil), `
		= one      | n=1,  op=delete,  other=tagging, at_once=1, later=6-7
		= nine     | n=9,  op=delete,  other=tagging, at_once=9, later=54-63
		= by a tag | n=30, op=tagging, other=delete,  at_once=1, later=6-7
			up $n; always $op limited/20s; mark; decrease 1-$n; run 15s; sent $op $at_once $other 0
			run 1m45s; sent $op $later; says 0x WARN & did not delete; says 2x the token's rate limit is reached & deletes wait
			heal $op; run 30s; told 1-$n crdx`)
}
