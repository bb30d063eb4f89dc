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
	"time"

	"golang.org/x/sync/errgroup"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

const (
	// perPage is the most entries that DigitalOcean puts on a page.
	perPage = 200

	// maxPages bounds a list whose answers always name a next page: 38,000
	// entries, which is what a token can read in one minute.
	maxPages = 190

	// atOnce is how many pages of a list of Droplets are read at the same time. A
	// Group gives a list 9 s, and a page may take readTimeout, 8 s. From the second
	// list on, N Droplets take ceil(N/3200) answers' time: a group survives an API
	// that takes 8 s to answer with up to 3,200 Droplets, 4.5 s with up to 6,400, 3 s
	// with up to 9,600. (TestSlowLists)
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
	var reads errgroup.Group
	for i, query := range queries {
		reads.Go(func() (err error) { lists[i], err = c.list(ctx, query); return err })
	}
	if err := reads.Wait(); err != nil {
		return ig.List{}, err
	}
	l := lists[0]
	for _, more := range lists[1:] {
		l.Droplets = append(l.Droplets, more.Droplets...)
		l.Requests += more.Requests
	}
	l.Droplets = byID(slices.DeleteFunc(l.Droplets, func(d ig.Droplet) bool { return !ig.HasTag(d, tag) }))
	l.Budget = c.budget.report()
	c.auth.know(true, l.Droplets)
	return l, nil
}

// byID sorts Droplets, and drops those that are there twice.
func byID(droplets []ig.Droplet) []ig.Droplet {
	slices.SortFunc(droplets, func(a, b ig.Droplet) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(droplets, func(a, b ig.Droplet) bool { return a.ID == b.ID })
}

// list reads all pages of the Droplets that match query. A list can shift between
// its pages while Droplets come and go. One that has fewer entries than each of its
// pages says there are is read again, once: then the number is taken to be wrong, as
// it may be for a while after Droplets went. An empty one is not believed so: it
// would say that all are gone.
func (c *Client) list(ctx context.Context, query url.Values) (ig.List, error) {
	var l ig.List
	for again := false; ; again = true {
		pages, err := c.readPages(ctx, query)
		if err != nil {
			return ig.List{}, err
		}
		l.Droplets, l.Date = nil, pages[0].date
		l.Requests += len(pages)
		total := pages[0].Meta.Total
		for _, p := range pages {
			total = min(total, p.Meta.Total) // as Droplets go, it falls from page to page
			for _, d := range p.Droplets {
				// One that is found by a tag and shows none would be taken for somebody else's.
				if !d.sound() || d.Tags == nil && query.Has("tag_name") {
					return ig.List{}, c.fail(opList, errors.New("the answer has a Droplet without id, name, status or tags"))
				}
				l.Droplets = append(l.Droplets, d.Droplet())
			}
		}
		l.Droplets = byID(l.Droplets)
		switch n := len(l.Droplets); {
		case n >= total, again && n > 0:
			return l, nil
		case again:
			return ig.List{}, c.fail(opList, fmt.Errorf("the list of Droplets with %s is empty, and yet says that there are %d: "+
				"to believe it would be to take them for gone", query.Encode(), total))
		}
	}
}

// readPages reads as many pages as the list had last, together, then those that
// they tell of. What is remembered too much is an empty page.
func (c *Client) readPages(ctx context.Context, query url.Values) ([]page, error) {
	want := 1
	if n, ok := c.pages.Load(query.Encode()); ok {
		want = n.(int)
	}
	var pages []page
	for len(pages) < want {
		next := make([]page, want-len(pages))
		var reads errgroup.Group
		reads.SetLimit(atOnce)
		for i := range next {
			reads.Go(func() (err error) {
				next[i], err = c.readPage(ctx, nth(query, len(pages)+i+1))
				return err
			})
		}
		if err := reads.Wait(); err != nil {
			if errors.Is(err, ig.ErrNotFound) { // a page beyond the end
				c.pages.Delete(query.Encode())
			}
			return nil, err
		}
		pages = append(pages, next...)
		want = max(1, (pages[0].Meta.Total-1)/perPage+1)
		if pages[len(pages)-1].more() {
			want = max(want, len(pages)+1)
		}
		if want > maxPages {
			return nil, c.fail(opList, errEndless)
		}
		c.pages.Store(query.Encode(), want)
	}
	return pages, nil
}

// page is one page of a list. Only one of Droplets is decoded whole.
type page struct {
	Droplets []droplet `json:"droplets"`
	Links    struct {
		Pages struct {
			Next string `json:"next"`
		} `json:"pages"`
	} `json:"links"`
	Meta struct {
		Total int `json:"total"` // of all pages, as this one says; 0 = it does not
	} `json:"meta"`
	date time.Time // by DigitalOcean's clock; zero = unknown
}

func (p page) more() bool { return p.Links.Pages.Next != "" }

func (c *Client) readPage(ctx context.Context, query url.Values) (page, error) {
	resp, body, err := c.send(ctx, request{op: opList, query: query})
	if err != nil {
		return page{}, err
	}
	var p page
	err = lenient(json.Unmarshal(body, &p), "droplets.")
	if err == nil && p.Droplets == nil {
		err = mustName(body, "droplets")
	}
	p.date, _ = http.ParseTime(resp.Header.Get("Date"))
	return p, c.fail(opList, err)
}

// mustName returns an error if an answer neither names its list nor says that there is
// nothing in it. One that is null is empty, as a server may write it.
func mustName(body []byte, name string) error {
	var answer map[string]json.RawMessage
	var says struct{ Meta struct{ Total *int } }
	err := cmp.Or(json.Unmarshal(body, &answer), json.Unmarshal(body, &says))
	if err == nil && (answer[name] != nil || says.Meta.Total != nil && *says.Meta.Total == 0) {
		return nil
	}
	return errNoList
}

// nth returns query for the nth page.
func nth(query url.Values, n int) url.Values {
	q := url.Values{"per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(n)}}
	maps.Copy(q, query)
	return q
}

// getAll reads all pages of any other list, whose entries are under name in the answers.
func getAll[T any](ctx context.Context, c *Client, op, name string, query url.Values) ([]T, error) {
	var all []T
	for n := 1; n <= maxPages; n++ {
		_, body, err := c.send(ctx, request{op: op, query: nth(query, n)})
		if err != nil {
			return nil, err
		}
		var p page
		var entries []T
		err = cmp.Or(json.Unmarshal(body, &p), decode(body, name, &entries))
		if err == nil && entries == nil {
			err = mustName(body, name)
		}
		if err != nil {
			return nil, c.fail(op, err)
		}
		all = append(all, entries...)
		if !p.more() {
			return all, nil
		}
	}
	return nil, c.fail(op, errEndless)
}
