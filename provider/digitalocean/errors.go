package digitalocean

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// fail turns what went wrong with a request into a CloudError.
func (c *Client) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	e := &ig.CloudError{Op: op, Class: ig.ErrAmbiguous}
	if answer, ok := errors.AsType[*godo.ErrorResponse](err); ok {
		e.Status = answer.Response.StatusCode
		e.Message = words(answer.Message)
		e.RequestID = answer.RequestID
		e.RetryAfter = retryAfter(answer.Response.Header)
		e.Class = classify(e.Status, e.Message)
	} else {
		if unsent(err) {
			e.Class = ig.ErrUnsent
		}
		// A url.Error would repeat the method and the whole address.
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		e.Message = words(err.Error())
	}
	if token := c.auth.used(); token != "" {
		e.Message = strings.ReplaceAll(e.Message, token, "[secret]")
	}
	return e
}

// classify maps an answer's status and DigitalOcean's words to a class. The
// phrases are those of public reports; godo drops the error id. What is not
// known for a refusal is ambiguous.
func classify(status int, message string) error {
	has := func(phrases ...string) bool {
		for _, p := range phrases {
			if strings.Contains(strings.ToLower(message), p) {
				return true
			}
		}
		return false
	}
	switch {
	case status == http.StatusUnauthorized:
		return ig.ErrUnauthorized
	case status == http.StatusNotFound:
		return ig.ErrNotFound
	case status == http.StatusTooManyRequests:
		return ig.ErrThrottled
	case status == http.StatusRequestTimeout, status < 400, status >= 500:
		return ig.ErrAmbiguous
	case has("droplet limit"):
		return ig.ErrQuota
	case status == http.StatusForbidden:
		return ig.ErrForbidden
	case has("invalid key identifiers"):
		return ig.ErrKey
	case has("pending event"):
		return ig.ErrPending
	case has("not available", "unavailable", "no capacity",
		// Init has checked both: if they are invalid now, they are gone from here.
		"invalid size", "invalid image"):
		return ig.ErrCapacity
	}
	return ig.ErrInvalid
}

// unsent tells whether err proves that no request was sent: no connection could
// be made, or there was no token to send.
func unsent(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "dial" || op.Op == "proxyconnect") {
		return true
	}
	return errors.As(err, new(tokenError)) ||
		errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) ||
		errors.As(err, new(x509.CertificateInvalidError))
}

// words makes one short line of what may be a page of HTML.
func words(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if strings.HasPrefix(s, "<") {
		return fmt.Sprintf("an HTML page of %d bytes instead of an answer", len(s))
	}
	if s == "" {
		return "no message"
	}
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// retryAfter reads how long DigitalOcean asks to wait; 0 = it does not.
func retryAfter(h http.Header) time.Duration {
	s := h.Get("Retry-After")
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return min(time.Duration(n)*time.Second, time.Hour)
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(max(0, time.Until(t)), time.Hour)
	}
	return 0
}
