package plan

import (
	"fmt"
	"math/rand/v2"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Example returns a synthetic week, from Monday to Sunday, of a team of some twenty people that work in Europe, and how its
// runner scales: idle_count 0, idle_time 20m and one job a Droplet. It is the same every time, and its group has no name.
func Example() (*history.History, Setup) {
	const week, price = 7 * 24 * time.Hour, 0.03571
	rng := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // an example
	from := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	h := &history.History{From: from, To: from.Add(week), Prices: map[string]float64{"s-2vcpu-4gb": price}, Failures: []history.Failure{}}
	w := &Work{Length: week, Ready: 3 * time.Second, Gone: 2 * deletion, Price: price, Queued: true}
	for range 1000 {
		w.Boots = append(w.Boots, time.Duration(30+rng.IntN(30))*time.Second)
	}
	for at := time.Duration(0); at < week; { // a pipeline is pushed
		for range 1 + rng.IntN(6) {
			takes := time.Duration(float64(2*time.Minute) * rng.ExpFloat64())
			w.Jobs = append(w.Jobs, Job{at, 20*time.Second + min(takes, 40*time.Minute)})
		}
		perHour := 1.5
		if t := from.Add(at); t.Weekday() != time.Saturday && t.Weekday() != time.Sunday && t.Hour() >= 7 && t.Hour() < 18 {
			perHour = 14
		}
		at += time.Duration(rng.ExpFloat64() / perHour * float64(time.Hour))
	}
	s := Setup{Zone: time.UTC, Active: func(time.Time) int { return 0 }, shifts: []shift{{}}}
	s.Policy = []runnerconfig.Policy{{IdleTime: 20 * time.Minute}}
	o := Replay(s, w)
	name := func(n int) string { return fmt.Sprintf("ci-example%04d", n) }
	for n, l := range o.Lives {
		d := history.Droplet{Name: name(n), Size: "s-2vcpu-4gb", PriceHourly: price,
			Requested: from.Add(l.From), Active: from.Add(l.From + w.Boots[n%len(w.Boots)])}
		if l.To < week {
			d.Gone = from.Add(l.To)
		}
		h.Droplets = append(h.Droplets, d)
	}
	for n, on := range o.On {
		j, pipeline := w.Jobs[n], int64(w.Jobs[n].Arrive.Seconds())
		taken := poll(j.Arrive)
		started := from.Add(j.Arrive + o.Waits[n])
		h.Jobs = append(h.Jobs, history.Job{ID: 10_000 + int64(n), Project: 100 + pipeline%4, Pipeline: pipeline, Droplet: name(on),
			AtGitLab: taken - j.Arrive, Received: from.Add(taken), Started: started, Ended: started.Add(j.Takes)})
	}
	return h, s
}
