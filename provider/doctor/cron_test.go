package doctor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"gitlab.com/gitlab-org/fleeting/taskscaler"
)

// nothing is an instance group without instances.
type nothing struct{ provider.InstanceGroup }

func (nothing) Init(context.Context, hclog.Logger, provider.Settings) (provider.ProviderInfo, error) {
	return provider.ProviderInfo{MaxSize: 1}, nil
}
func (nothing) Update(context.Context, func(string, provider.State)) error { return nil }
func (nothing) Shutdown(context.Context) error                             { return nil }

// Periods mean to doctor what they mean to the runner's own autoscaler, whose parser
// cannot be imported: both are asked, at random moments of some years.
func TestPeriodsAreTheRunners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runner, err := taskscaler.New(t.Context(), nothing{})
		if err != nil {
			t.Fatal(err)
		}
		runner.Shutdown(t.Context()) // what we need of it works all the same

		r := rand.New(rand.NewPCG(1, 2))
		zones := []string{"UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu"}
		texts := []string{
			"* 8-18 * * mon-fri", "*/15 * * * *", "3-50/7 * * * *", "* 22-6 * * *", "* * * * fri-mon", "* * * * 7", "* * * * 0", "0 0 1 1 sun",
			"* * */2 * */2", "* * 31 feb *", "5 2 * * wed", "", "* * * *", "* * * * * *",
			"60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
			"*,* * * * *", "*/0 * * * *", "a * * * *", "1- * * * *", "-1 * * * *",
			"1-2-3 * * * *", "1/ * * * *", "*/61 * * * *", "MON * * * *", "* * * * Mon,TUE",
			"1,, * * * *", "256 * * * *", "*,5 * * * *", "*/2,* * * * *", "*-5 * * * *", "* * */0 * *", "* * L * *", "0 * * ? *",
		}
		for range 300 {
			texts = append(texts, randomPeriod(r))
		}
		for _, text := range texts {
			for range 20 {
				time.Sleep(time.Duration(r.IntN(60*24*40)) * time.Minute)
				zone := zones[r.IntN(len(zones))]
				err := runner.ConfigureSchedule(taskscaler.Schedule{Periods: []string{text}, Timezone: zone, IdleCount: 1})
				p, ours := parsePeriod(text, zone)
				if (err == nil) != (ours == nil) {
					t.Fatalf("%q: the runner says %v, doctor %+v", text, err, ours)
				}
				if err != nil {
					break
				}
				if got, want := p.contains(time.Now()), runner.Schedule().IdleCount == 1; got != want {
					t.Fatalf("%q in %s at %s: doctor says %t, the runner %t", text, zone, time.Now(), got, want)
				}
			}
		}
		if err := runner.ConfigureSchedule(taskscaler.Schedule{Timezone: "Europe/Nowhere"}); err == nil {
			t.Error("the runner knows Europe/Nowhere")
		}
		if _, err := parsePeriod("* * * * *", "Europe/Nowhere"); err == nil {
			t.Error("doctor knows Europe/Nowhere")
		}
	})
}

// randomPeriod writes periods of which most can be read.
func randomPeriod(r *rand.Rand) string {
	var words []string
	for _, f := range fields {
		number := func() string {
			n := f.min + r.IntN(f.max-f.min+1)
			if r.IntN(40) == 0 {
				n += 30
			}
			if n-f.min < len(f.words) && r.IntN(2) == 0 {
				return f.words[n-f.min]
			}
			return fmt.Sprint(n)
		}
		var items []string
		for range 1 + r.IntN(2) {
			item := "*"
			switch r.IntN(6) {
			case 0:
				item = number()
			case 1, 2:
				item = number() + "-" + number()
			}
			if r.IntN(4) == 0 {
				item += "/" + number()
			}
			items = append(items, item)
		}
		words = append(words, strings.Join(items, ","))
	}
	return strings.Join(words, " ")
}
