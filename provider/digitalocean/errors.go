package digitalocean

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// fail turns what went wrong with a request into a CloudError, with what its reader needs
// to fix it. One of our own says that the request was not sent.
func (c *Client) fail(op string, err error) error {
	e := ig.CloudError{Class: ig.ErrUnconfirmed}
	if own, ok := errors.AsType[*ig.CloudError](err); ok {
		e = *own
	} else if answer, ok := errors.AsType[*godo.ErrorResponse](err); ok {
		e.Status, e.Message, e.RetryAfter = answer.Response.StatusCode, answer.Message, retryAfter(answer.Response.Header)
		e.Class, e.RequestID = classify(e.Status, e.Message), c.requestID(answer.RequestID)
	} else {
		if unreachable(err) {
			e.Class = ig.ErrUnsent
		}
		if u, ok := errors.AsType[*url.Error](err); ok { // which would repeat the method and the whole address
			if err = u.Err; u.Timeout() {
				err = fmt.Errorf("no answer in time: %w", err)
			}
		}
		e.Message = err.Error()
	}
	e.Op, e.Message = op, cmp.Or(line(c.tokens.redact(e.Message), 300), "no message")
	switch {
	case errors.Is(e.Class, ig.ErrUnauthorized):
		return fmt.Errorf("%w: the token comes from %s: put a valid one there", &e, c.source)
	case errors.Is(e.Class, ig.ErrOtherAccount):
		return fmt.Errorf("%w: the token comes from %s", &e, c.source)
	case errors.Is(e.Class, ig.ErrForbidden) && scopesOf[op] != nil: // DigitalOcean does not say which scope is missing
		return fmt.Errorf("%w: the token from %s lacks a scope that this needs, %s", &e, c.source, strings.Join(scopesOf[op], " or "))
	}
	return &e
}

// classify maps a status and DigitalOcean's words to a class. The phrases are those of
// public reports, and no closed list. godo drops the error id.
func classify(status int, message string) error {
	message = strings.ToLower(message)
	has := func(phrase string) bool { return strings.Contains(message, phrase) }
	switch {
	case status == http.StatusUnauthorized:
		return ig.ErrUnauthorized
	case status == http.StatusNotFound:
		return ig.ErrNotFound
	case status == http.StatusTooManyRequests:
		return ig.ErrRateLimited
	case status == http.StatusRequestTimeout, status < 400, status >= 500:
		return ig.ErrUnconfirmed
	case has("gpu limit"), has("gpu droplet limit"):
		return ig.ErrSizeLimit
	case has("droplet limit"):
		return ig.ErrQuota
	case status == http.StatusForbidden:
		return ig.ErrForbidden
	case has("invalid key identifiers"):
		return ig.ErrKey
	}
	return ig.ErrRefused
}

// heals reports whether the same GET may fare better in a moment, and how long that
// is if it is asked to wait.
func heals(err error) (wait time.Duration, ok bool) {
	e, failed := errors.AsType[*ig.CloudError](err)
	switch {
	case !failed:
		return 0, false
	case errors.Is(e, ig.ErrRateLimited):
		return e.RetryAfter, e.RetryAfter > 0
	case errors.Is(e, ig.ErrUnsent), errors.Is(e, ig.ErrUnconfirmed):
		return e.RetryAfter, e.Status == 0 || e.Status >= http.StatusInternalServerError
	}
	return 0, false
}

// unreachable reports whether err proves that no connection could be made.
func unreachable(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "dial" || op.Op == "proxyconnect") || errors.As(err, new(*tls.CertificateVerificationError))
}

// requestID is what an answer says that DigitalOcean's support would ask for.
func (c *Client) requestID(s string) string { return line(c.tokens.redact(s), 64) }

// line makes one line of at most that many bytes of s.
func line(s string, most int) string {
	s = strings.ToValidUTF8(s[:min(len(s), most)], "")
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}

const maxRetryAfter = time.Minute // the longest that an answer is believed to ask us to wait

// retryAfter reads how long DigitalOcean asks to wait; 0 = it does not.
func retryAfter(h http.Header) time.Duration {
	n, _ := strconv.Atoi(h.Get("Retry-After"))
	return time.Duration(max(0, min(n, int(maxRetryAfter/time.Second)))) * time.Second
}

// hints is what a person can do about an error of each class.
var hints = map[error]string{
	ig.ErrUnsent:       "look at HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and plugin_config.api_url",
	ig.ErrUnauthorized: "make a token at https://cloud.digitalocean.com/account/api/tokens",
	ig.ErrOtherAccount: "put a token of the team that the Droplets belong to where this one came from",
	ig.ErrForbidden:    "fleeting-plugin-digitalocean doctor shows which scopes the token has, and what each is for",
	ig.ErrRateLimited:  "the token's rate limit is reached; try again in a minute",
}

// Hint says what a person can do about a CloudError; "" for any other error.
func Hint(err error) string {
	e, ok := errors.AsType[*ig.CloudError](err)
	if !ok {
		return ""
	}
	return cmp.Or(hints[e.Class], "try again in a minute; https://status.digitalocean.com shows outages")
}
