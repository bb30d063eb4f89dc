package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// The docs' arithmetic is that of the code, at the prices of the simulator.
func TestBillInOperations(t *testing.T) {
	t.Parallel()
	_, doc, _ := strings.Cut(readDoc(t, "docs/operations.md"), "\n## How to read a bill\n")
	doc, _, _ = strings.Cut(doc, "\n## ")
	prices := prices(t)
	rows := regexp.MustCompile(`(?m)^\| ([\d.]+) \| ([\w-]+) \| (\w+)`).FindAllStringSubmatch(doc, -1)
	if len(rows) < 5 {
		t.Fatalf("found only %v", rows)
	}
	for _, row := range rows {
		price, _ := strconv.ParseFloat(row[1], 64) // the pattern is a number
		if prices[row[2]] != price {
			t.Errorf("%s costs %v, the docs say %v", row[2], prices[row[2]], price)
		}
		lasts, err := time.ParseDuration(row[3])
		if err != nil {
			t.Error(err)
		}
		least := instancegroup.Cost(price, 0)
		if instancegroup.Cost(price, lasts-time.Second) > least || instancegroup.Cost(price, lasts+time.Second) <= least {
			t.Errorf("%s: what is billed at least does not last for %s", row[2], lasts)
		}
	}
	for _, sum := range []struct {
		droplets int
		hours    float64
		says     string
	}{{2, 730, "= 52.14 USD"}, {2, 11 * 5 * 52 / 12.0, "about 17."}} {
		usd := float64(sum.droplets) * prices["s-2vcpu-4gb"] * sum.hours
		if want := fmt.Sprintf("%.2f", usd); !strings.Contains(doc, sum.says) || !strings.Contains(sum.says, want) && !strings.Contains(sum.says, fmt.Sprintf("%.0f", usd)) {
			t.Errorf("%d Droplets for %v hours cost %s, the docs say %q", sum.droplets, sum.hours, want, sum.says)
		}
	}
}

// What the tutorial says of costs follows from prices, and from its own measured day.
func TestBillInTutorial(t *testing.T) {
	t.Parallel()
	doc := readDoc(t, "docs/tutorial.md")
	prices := prices(t)
	droplet, manager := prices["s-2vcpu-4gb"], prices["s-1vcpu-1gb"]
	measured := func(row string) float64 { // the last column
		m := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(row) + ` .*\| ([\d.]+) \|$`).FindStringSubmatch(doc)
		if m == nil {
			t.Fatalf("the table has no row %q", row)
		}
		usd, _ := strconv.ParseFloat(m[1], 64) // the pattern is a number
		return usd
	}
	for row, want := range map[string]float64{
		"the manager, an s-1vcpu-1gb":            manager * 730,
		"one idle s-2vcpu-4gb, around the clock": droplet * 730,
		"the same from 8 to 18 on weekdays":      droplet * 10 * 5 * 52 / 12,
		"the day [above](#how-the-numbers-play-together), 21 times, with four ready by day only": 21 * measured("4, 0 | 20m"),
		"the same with none ready, and an `idle_time` of 20 minutes":                             21 * measured("0, 0 | 20m"),
		"the most that 10 of them can cost, if all are there all the time":                       10 * droplet * 730,
	} {
		_, rest, ok := strings.Cut(doc, "\n| "+row+" | ")
		cell, _, _ := strings.Cut(rest, " |")
		says, err := strconv.ParseFloat(cell, 64)
		if !ok || err != nil || says < 0.93*want-0.5 || says > 1.07*want+0.5 {
			t.Errorf("%s: the tutorial says %q, it is %.2f", row, cell, want)
		}
	}
	for _, sentence := range []string{
		fmt.Sprintf("the manager, %.2f USD a month", manager*730),
		fmt.Sprintf("%.0f USD a month as an s-2vcpu-4gb", droplet*730),
		fmt.Sprintf("at\n%v USD an hour it allows %d Droplets", droplet, int(0.50/droplet)),
	} {
		if !strings.Contains(doc, sentence) {
			t.Errorf("the tutorial does not say %q", sentence)
		}
	}
}

// prices are those of the simulated DigitalOcean, by size.
func prices(t *testing.T) map[string]float64 {
	t.Helper()
	w := newWorld(t, quick)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/v2/sizes?per_page=200", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body struct {
		Sizes []struct {
			Slug        string
			PriceHourly float64 `json:"price_hourly"`
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	by := map[string]float64{}
	for _, s := range body.Sizes {
		by[s.Slug] = s.PriceHourly
	}
	return by
}
