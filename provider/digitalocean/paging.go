package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"

	"github.com/digitalocean/godo"
)

// perPage is the most entries that DigitalOcean puts on a page.
const perPage = 200

// maxPages bounds a list whose answers always name a next page: 38,000 entries,
// which is what a token can read in one minute.
const maxPages = 190

// errNoList is valid JSON without the list that was asked for, which is not the
// same as an empty one.
var errNoList = errors.New("the answer has no list")

// pages reads every page of a list. read gets one page's query, and returns
// whether there is another page.
func pages(query url.Values, read func(query url.Values) (more bool, err error)) error {
	q := maps.Clone(query)
	if q == nil {
		q = url.Values{}
	}
	q.Set("per_page", strconv.Itoa(perPage))
	for page := 1; page <= maxPages; page++ {
		q.Set("page", strconv.Itoa(page))
		more, err := read(q)
		if err != nil || !more {
			return err
		}
	}
	return fmt.Errorf("the list has more than %d pages", maxPages)
}

// paging is the part of a list's answer that tells of other pages.
type paging struct {
	Links struct {
		Pages struct {
			Next string `json:"next"`
		} `json:"pages"`
	} `json:"links"`
	Meta *godo.Meta `json:"meta"`
}

// more tells whether there is another page.
func (p paging) more() bool { return p.Links.Pages.Next != "" }

// lists is the answer to any list but that of Droplets. What was asked for is
// not nil.
type lists struct {
	Sizes   *[]godo.Size   `json:"sizes"`
	Regions *[]godo.Region `json:"regions"`
	Images  *[]godo.Image  `json:"images"`
	Keys    *[]godo.Key    `json:"ssh_keys"`
	Tags    *[]godo.Tag    `json:"tags"`
	VPCs    *[]godo.VPC    `json:"vpcs"`
	paging
}

// readAll reads all pages of one of lists.
func readAll[T any](ctx context.Context, c *Client, path string, query url.Values, pick func(lists) *[]T) ([]T, error) {
	var all []T
	err := pages(query, func(q url.Values) (bool, error) {
		var answer lists
		if _, err := c.get(ctx, path, q, &answer); err != nil {
			return false, err
		}
		list := pick(answer)
		if list == nil {
			return false, errNoList
		}
		all = append(all, *list...)
		return answer.more(), nil
	})
	if err != nil {
		return nil, c.fail("GET /"+path, err)
	}
	return all, nil
}
