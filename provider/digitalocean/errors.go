package digitalocean

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// fail turns what went wrong with a request into a CloudError, and adds what its reader
// needs to fix it.
func (c *Client) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	e := c.cloudError(op, err)
	switch {
	case errors.Is(e, ig.ErrUnauthorized):
		return fmt.Errorf("%w: the token comes from %s: put a valid one there", e, c.source)
	case errors.Is(e, ig.ErrOtherAccount):
		return fmt.Errorf("%w: the token comes from %s", e, c.source)
	case errors.Is(e, ig.ErrForbidden): // DigitalOcean does not say which scope is missing
		if scopes := scopesOf[op]; scopes != nil {
			return fmt.Errorf("%w: the token from %s lacks a scope that this needs, %s", e, c.source, strings.Join(scopes, " or "))
		}
	}
	return e
}

// cloudError classifies err. What is a CloudError already is of our own making: the
// request was not sent.
func (c *Client) cloudError(op string, err error) *ig.CloudError {
	e := &ig.CloudError{Op: op, Class: ig.ErrUnconfirmed}
	if answer, ok := errors.AsType[*godo.ErrorResponse](err); ok {
		e.Status = answer.Response.StatusCode
		e.Message = c.words(answer.Message)
		e.Class = classify(e.Status, e.Message)
		e.RequestID = c.requestID(answer.RequestID)
		e.RetryAfter = retryAfter(answer.Response.Header)
		return e
	}
	if own, ok := errors.AsType[*ig.CloudError](err); ok {
		e.Class, e.Message, e.RetryAfter = own.Class, c.words(own.Message), own.RetryAfter
		return e
	}
	if unreachable(err) {
		e.Class = ig.ErrUnsent
	}
	e.Message = c.words(explain(err))
	return e
}

// classify maps an answer's status and DigitalOcean's words to a class. The
// phrases are those of public reports; godo drops the error id. They are no closed
// list: any other refusal is ErrRefused, and what is not known for a refusal is
// unconfirmed.
func classify(status int, message string) error {
	message = strings.ToLower(message)
	has := func(phrases ...string) bool {
		return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(message, p) })
	}
	switch {
	case status == http.StatusUnauthorized:
		return ig.ErrUnauthorized
	case status == http.StatusNotFound:
		return ig.ErrNotFound
	case status == http.StatusTooManyRequests:
		return ig.ErrRateLimited
	case status == http.StatusRequestTimeout, status < 400, status >= 500:
		return ig.ErrUnconfirmed
	case has("gpu") && has("limit"):
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

// unreachable reports whether err proves that no connection could be made.
func unreachable(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "dial" || op.Op == "proxyconnect") || errors.As(err, new(*tls.CertificateVerificationError))
}

// explain says what went wrong with a request that has no error answer.
func explain(err error) string {
	// A url.Error would repeat the method and the whole address.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case ok && timeout.Timeout():
		return "no answer in time: " + err.Error()
	case errors.As(err, new(*json.SyntaxError)), errors.As(err, new(*json.UnmarshalTypeError)):
		return "the answer cannot be understood: " + err.Error()
	}
	return err.Error()
}

// words makes one short line without tokens of what an answer says.
func (c *Client) words(s string) string { return cmp.Or(line(c.auth.redact(s), 300), "no message") }

// requestID is what an answer says that DigitalOcean's support would ask for.
func (c *Client) requestID(s string) string { return line(c.auth.redact(s), 64) }

// line makes one line of at most that many bytes of s.
func line(s string, most int) string {
	cut := len(s) > most
	s = strings.ToValidUTF8(s[:min(len(s), most)], "")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if cut {
		s += "..."
	}
	return s
}

// maxRetryAfter is the longest that an answer is believed to ask us to wait.
const maxRetryAfter = time.Minute

// retryAfter reads how long DigitalOcean asks to wait; 0 = it does not.
func retryAfter(h http.Header) time.Duration {
	n, _ := strconv.Atoi(h.Get("Retry-After"))
	return time.Duration(max(0, min(n, int(maxRetryAfter/time.Second)))) * time.Second
}

// Hint says what a person can do when DigitalOcean does not do what it was asked. It is
// "" for any other error.
func Hint(err error) string {
	e, ok := errors.AsType[*ig.CloudError](err)
	switch {
	case !ok:
		return ""
	case errors.Is(e, ig.ErrRateLimited):
		wait := "a minute"
		if e.RetryAfter > 0 {
			wait = e.RetryAfter.Round(time.Second).String()
		}
		return "the token's rate limit is reached; try again in " + wait
	case errors.Is(e, ig.ErrUnsent):
		return "look at HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and plugin_config.api_url"
	case errors.Is(e, ig.ErrUnauthorized):
		return "make a token at https://cloud.digitalocean.com/account/api/tokens"
	case errors.Is(e, ig.ErrOtherAccount):
		return "put a token of the team that the Droplets belong to where this one came from"
	case errors.Is(e, ig.ErrForbidden):
		return "fleeting-plugin-digitalocean doctor shows which scopes the token has, and what each is for"
	}
	return "try again in a minute; https://status.digitalocean.com shows outages"
}
