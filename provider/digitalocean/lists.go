package digitalocean

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

const (
	// perPage is the most entries that DigitalOcean puts on a page.
	perPage = 200

	// maxPages bounds a list whose answers always name a next page: 38,000
	// entries, which is what a token can read in one minute.
	maxPages = 190

	// listTries is how often a list of Droplets is read that shifts between its
	// pages.
	listTries = 3

	// atOnce is how many pages of a list of Droplets are read at the same time.
	//
	// A Group gives a list 9 s, and a page may take readTimeout, 8 s. From the
	// second list on, N Droplets take ceil(N/3200) answers' time. So a group
	// survives an API that takes 8 s to answer with up to 3,200 Droplets, 4.5 s
	// with up to 6,400, 3 s with up to 9,600. (TestSlowLists)
	atOnce = 16
)

var (
	errNoList  = errors.New("the answer has no list") // which is not an empty one
	errEndless = fmt.Errorf("the list has more than %d pages", maxPages)
)

// List implements instancegroup.Cloud.
func (c *Client) List(ctx context.Context, tag string, gpus bool) (ig.List, error) {
	queries := []url.Values{{"tag_name": {tag}}}
	if gpus {
		// DigitalOcean leaves GPU Droplets out of every other list, and does
		// not combine type with tag_name.
		queries = append(queries, url.Values{"type": {"gpus"}})
	}
	lists := make([]ig.List, len(queries))
	err := together(len(queries), func(i int) (err error) { lists[i], err = c.list(ctx, queries[i]); return err })
	if err != nil {
		return ig.List{}, err
	}
	l := lists[0]
	for i := range l.Droplets {
		if d := &l.Droplets[i]; len(d.Tags) == 0 {
			d.Tags = []string{tag} // DigitalOcean has filtered by it
		}
	}
	for _, more := range lists[1:] {
		l.Droplets = append(l.Droplets, more.Droplets...)
		l.Requests += more.Requests
	}
	l.Droplets = slices.DeleteFunc(l.Droplets, func(d ig.Droplet) bool { return !ig.HasTag(d, tag) })
	l.Droplets = byID(l.Droplets)
	l.Budget = c.budget.report()
	c.auth.know(true, l.Droplets)
	return l, nil
}

// byID sorts Droplets, and drops those that are there twice.
func byID(droplets []ig.Droplet) []ig.Droplet {
	slices.SortFunc(droplets, func(a, b ig.Droplet) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(droplets, sameID)
}

func sameID(a, b ig.Droplet) bool { return a.ID == b.ID }

// together does n things, at most atOnce at the same time, and returns the first
// error by their order.
func together(n int, do func(int) error) error {
	errs := make([]error, n)
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(i)
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// list reads all pages of the Droplets that match query. A list can shift
// between its pages while Droplets come and go. One that has fewer entries than
// each of its pages says there are is read again, unless it was the same before:
// then the number is wrong, as it may be for a while after Droplets went. An
// empty one is not believed so: it would say that all are gone.
func (c *Client) list(ctx context.Context, query url.Values) (ig.List, error) {
	var requests, total int
	var before []ig.Droplet // the list as it was read before
	for range listTries {
		pages, err := c.readPages(ctx, query)
		if err != nil {
			return ig.List{}, err
		}
		requests += len(pages)
		l := ig.List{Requests: requests, Date: pages[0].date}
		total = pages[0].total
		for _, p := range pages {
			total = min(total, p.total) // as Droplets go, it falls from page to page
			if p.date.Before(l.Date) {
				l.Date = p.date
			}
			for i := range p.droplets {
				l.Droplets = append(l.Droplets, p.droplets[i].Droplet())
			}
		}
		l.Droplets = byID(l.Droplets)
		n := len(l.Droplets)
		if n >= total || n > 0 && slices.EqualFunc(l.Droplets, before, sameID) {
			return l, nil
		}
		before = l.Droplets
	}
	which := ""
	if query.Get("type") == "gpus" {
		which = " of GPU Droplets"
	}
	err := fmt.Errorf("the list%s changed between its pages %d times", which, listTries)
	if len(before) == 0 {
		err = fmt.Errorf("the list%s is empty, %d times, and yet says that there are %d Droplets: "+
			"to believe it would be to take them for gone", which, listTries, total)
	}
	return ig.List{}, c.fail(opList, err)
}

// page is one page of a list of Droplets.
type page struct {
	droplets []droplet
	total    int // of all pages, as this one says
	more     bool
	date     time.Time
}

// readPages reads as many pages as the list had last, together, then those that
// they tell of. What is remembered too much is an empty page.
func (c *Client) readPages(ctx context.Context, query url.Values) ([]page, error) {
	want := 1
	if n, ok := c.pages.Load(query.Encode()); ok {
		want = n.(int)
	}
	var read []page
	for {
		next := make([]page, want-len(read))
		err := together(len(next), func(i int) (err error) {
			next[i], err = c.readPage(ctx, query, len(read)+i+1)
			return err
		})
		if err != nil {
			return nil, err
		}
		read = append(read, next...)
		switch {
		case !read[len(read)-1].more:
			return read, nil
		case len(read) >= maxPages:
			return nil, c.fail(opList, errEndless)
		}
		want = max(read[0].pages(), len(read)+1)
	}
}

// pages returns how many pages the list has, as its first page says.
func (p page) pages() int {
	if !p.more {
		return 1
	}
	return max(1, min((p.total-1)/perPage+1, maxPages))
}

func (c *Client) readPage(ctx context.Context, query url.Values, n int) (page, error) {
	var answer struct {
		Droplets []droplet `json:"droplets"`
		paging
	}
	resp, err := c.send(ctx, request{op: opList, query: nth(query, n)}, &answer)
	if err != nil {
		return page{}, err
	}
	p := page{droplets: answer.Droplets}
	p.date, _ = http.ParseTime(resp.Header.Get("Date"))
	if answer.Meta != nil {
		p.total = answer.Meta.Total
	}
	if p.droplets == nil && (answer.Meta == nil || p.total != 0) {
		return page{}, c.fail(opList, errNoList)
	}
	// A full page that names no next one, and yet more Droplets, is not the last.
	p.more = answer.more() || len(p.droplets) >= perPage && p.total > n*perPage
	if n == 1 { // remembered even if a later page fails
		c.pages.Store(query.Encode(), p.pages())
	}
	return p, nil
}

// nth returns query for the nth page.
func nth(query url.Values, n int) url.Values {
	q := url.Values{"per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(n)}}
	maps.Copy(q, query)
	return q
}

// paging is the part of a list's answer that is about its other pages.
type paging struct {
	Links *godo.Links `json:"links"`
	Meta  *godo.Meta  `json:"meta"`
}

func (p paging) more() bool {
	return p.Links != nil && p.Links.Pages != nil && p.Links.Pages.Next != ""
}

// getAll reads all pages of any other list, which is under field in the answers.
func getAll[T any](ctx context.Context, c *Client, op, field string, query url.Values) ([]T, error) {
	var all []T
	for n := 1; n <= maxPages; n++ {
		var body json.RawMessage
		if _, err := c.send(ctx, request{op: op, query: nth(query, n)}, &body); err != nil {
			return nil, err
		}
		var links paging
		var fields map[string]json.RawMessage
		var entries []T
		err := cmp.Or(json.Unmarshal(body, &fields), json.Unmarshal(body, &links))
		if err == nil && fields[field] != nil {
			err = json.Unmarshal(fields[field], &entries)
		}
		if err == nil && entries == nil {
			err = errNoList
		}
		if err != nil {
			return nil, c.fail(op, err)
		}
		all = append(all, entries...)
		if !links.more() {
			return all, nil
		}
	}
	return nil, c.fail(op, errEndless)
}
