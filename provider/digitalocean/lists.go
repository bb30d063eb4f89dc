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
	c.know(true, l.Droplets)
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
		pages, err := readPages[droplet](ctx, c, opList, "droplets", query)
		if err != nil {
			return ig.List{}, err
		}
		l.Droplets, l.Date = nil, pages[0].date
		l.Requests += len(pages)
		total := pages[0].total
		for _, p := range pages {
			total = min(total, p.total) // as Droplets go, it falls from page to page
			for _, d := range p.entries {
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

// getAll returns the entries of any other list, which are under name in the answers.
func getAll[T any](ctx context.Context, c *Client, op, name string, query url.Values) ([]T, error) {
	pages, err := readPages[T](ctx, c, op, name, query)
	var all []T
	for _, p := range pages {
		all = append(all, p.entries...)
	}
	return all, err
}

// readPages reads as many pages as the list had last, together, then those that
// they tell of. What is remembered too much is an empty page.
func readPages[T any](ctx context.Context, c *Client, op, name string, query url.Values) ([]page[T], error) {
	key := op + "?" + query.Encode()
	want := 1
	if n, ok := c.pages.Load(key); ok {
		want = n.(int)
	}
	var pages []page[T]
	for len(pages) < want {
		next := make([]page[T], want-len(pages))
		var reads errgroup.Group
		reads.SetLimit(atOnce)
		for i := range next {
			reads.Go(func() (err error) {
				q := url.Values{"per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(len(pages) + i + 1)}}
				maps.Copy(q, query)
				next[i], err = readPage[T](ctx, c, op, name, q)
				return err
			})
		}
		if err := reads.Wait(); err != nil {
			if errors.Is(err, ig.ErrNotFound) { // a page beyond the end
				c.pages.Delete(key)
			}
			return nil, err
		}
		pages = append(pages, next...)
		want = max(1, (pages[0].total-1)/perPage+1)
		if pages[len(pages)-1].more {
			want = max(want, len(pages)+1)
		}
		if want > maxPages {
			return nil, c.fail(op, fmt.Errorf("the list has more than %d pages", maxPages))
		}
		c.pages.Store(key, want)
	}
	return pages, nil
}

// page is one page of a list.
type page[T any] struct {
	entries []T
	more    bool      // it names a next page
	total   int       // of all pages, as this one says; 0 = it does not
	date    time.Time // by DigitalOcean's clock; zero = unknown
}

func readPage[T any](ctx context.Context, c *Client, op, name string, query url.Values) (p page[T], err error) {
	resp, body, err := c.send(ctx, request{op: op, query: query})
	if err != nil {
		return page[T]{}, err
	}
	p.date, _ = http.ParseTime(resp.Header.Get("Date"))
	answer, err := decode(body, name, &p.entries)
	if err != nil {
		return page[T]{}, c.fail(op, err)
	}
	var links struct{ Pages struct{ Next string } }
	var odd error // where there is one page links may be anything
	if said := answer["links"]; said != nil && string(said) != "[]" {
		odd = json.Unmarshal(said, &links)
	}
	var meta struct{ Total int }
	if said := answer["meta"]; said != nil {
		err = json.Unmarshal(said, &meta)
	} else {
		err = odd // one of the two has to say whether that is all
	}
	p.more, p.total = links.Pages.Next != "", meta.Total
	return p, c.fail(op, err)
}
