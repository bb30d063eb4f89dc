package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Cloud is what a Group needs of DigitalOcean: provider/digitalocean, or the fake of this
// package's tests.
//
// Every method honours ctx and may be called concurrently. Every error wraps a
// *CloudError, or ctx's error. What changes something is sent once: the caller decides
// whether to send it again. Its success means accepted: only a later List proves that it
// was carried out. What only reads may be repeated.
type Cloud interface {
	// List returns all Droplets that carry tag, GPU Droplets too if gpus is
	// set. It is complete or it is an error: a part of a list would make the
	// Group take the rest for gone.
	List(ctx context.Context, tag string, gpus bool) (List, error)

	// Get returns one Droplet, or ErrNotFound.
	Get(ctx context.Context, id int64) (Droplet, error)

	// Create asks for one Droplet per name, at most MaxNames. Names that the answer leaves
	// out may or may not exist.
	Create(ctx context.Context, r CreateRequest) (Created, error)

	// Delete asks for a Droplet's removal and returns DigitalOcean's request id.
	Delete(ctx context.Context, id int64) (requestID string, err error)

	// TagDroplets puts tag on Droplets, at most MaxTagged, and makes it if need be.
	TagDroplets(ctx context.Context, tag string, ids []int64) error

	// DeleteTagged asks for the removal of every Droplet that carries tag, which is a
	// DeleteTag: no other is taken.
	DeleteTagged(ctx context.Context, tag string) (requestID string, err error)

	// RemoveTag removes a tag from the account and from whatever carries it.
	RemoveTag(ctx context.Context, tag string) error

	// AssignProject moves Droplets to a project, at most MaxAssign at once.
	AssignProject(ctx context.Context, project string, ids []int64) error

	// Usage returns how much of the account's quota Droplets take that do not
	// carry tag.
	Usage(ctx context.Context, tag string) (Usage, error)
}

const (
	// MaxNames is how many Droplets one create request may ask for
	// (DigitalOcean's documented limit of POST /v2/droplets).
	MaxNames = 10

	// MaxTagged and MaxAssign are how many Droplets TagDroplets and
	// AssignProject take at once. DigitalOcean documents no limit.
	MaxTagged = 100
	MaxAssign = 100
)

// Droplet is one Droplet as DigitalOcean described it last.
type Droplet struct {
	ID          int64
	Name        string
	Status      string // StatusNew, StatusActive, StatusOff or StatusArchive
	Tags        []string
	Region      string
	Size        string
	Image       Image
	PublicIPv4  string // "" = none (yet)
	PublicIPv6  string
	PrivateIPv4 string
	PriceHourly float64   // USD; 0 = unknown
	Created     time.Time // by DigitalOcean's clock; zero = unknown
}

// The values of Droplet.Status.
const (
	StatusNew     = "new"
	StatusActive  = "active" // powered on; SSH follows some seconds later
	StatusOff     = "off"    // billed in full
	StatusArchive = "archive"
)

// External returns the address by which the Droplet is reached from the
// internet: IPv4 if it has one, else IPv6, else "".
func (d Droplet) External() string {
	if d.PublicIPv4 != "" {
		return d.PublicIPv4
	}
	return d.PublicIPv6
}

// Age returns how old the Droplet is; 0 = unknown, too.
func (d Droplet) Age(now time.Time) time.Duration {
	if d.Created.IsZero() {
		return 0
	}
	return max(0, now.Sub(d.Created))
}

// List is a complete answer to Cloud.List.
type List struct {
	Droplets []Droplet // by ascending id
	Requests int       // how many requests it took: one per page of 200
	Date     time.Time // DigitalOcean's clock as the list began; zero = unknown
	Budget   Budget    // of the token, after it
}

// Budget is what a token may spend, and what it was spent on. Counts are of
// requests in the last hour.
type Budget struct {
	Limit     int // an hour, as DigitalOcean last told; 0 = unknown
	Remaining int // of it
	Others    int // by other programs in the last hour

	Changes int // ours: creates, deletes, tags
	Recent  int // those of the last RecentSpan
	LookUps int // of one thing, to decide about it
	Lists   int // of Droplets
}

// RecentSpan is what Budget.Recent counts.
const RecentSpan = 5 * time.Minute

// Image names what a Droplet boots: a slug, or else a numeric id.
type Image struct {
	Slug string
	ID   int64
}

func (i Image) String() string {
	if i.Slug != "" {
		return i.Slug
	}
	return fmt.Sprint(i.ID)
}

// CreateRequest is one POST /v2/droplets.
type CreateRequest struct {
	Names   []string
	Region  string
	Size    string
	Image   Image
	SSHKeys []string // ids or fingerprints
	VPC     string   // "" = the region's default VPC
	Subnet  string   // "" = the VPC's default subnet
	Tags    []string
	Template
}

// Template is what all Droplets of a group have in common, in DigitalOcean's
// own terms.
type Template struct {
	PublicNetworking bool
	IPv6             bool
	Monitoring       bool
	Backups          bool
	WithDropletAgent *bool // nil = DigitalOcean's default
	UserData         string
}

// Created is the answer to an accepted create.
type Created struct {
	Droplets  []Droplet
	RequestID string
}

// Usage is how far the account's Droplet quota is used.
type Usage struct {
	Limit  int // the account's droplet_limit; 0 = unknown
	Others int // Droplets on the account that are not the group's, GPU Droplets included
}

// The classes of errors that a Group distinguishes. All but ErrUnconfirmed are
// definite: what was asked for was not done.
var (
	ErrNotFound     = errors.New("not found")
	ErrSizeLimit    = errors.New("the account's limit for this kind of size is reached") // "will exceed your GPU limit"
	ErrQuota        = errors.New("the account's Droplet limit is reached")
	ErrKey          = errors.New("an SSH key is not known to the account")
	ErrRefused      = errors.New("the request was refused")           // whatever the reason: there are texts without end
	ErrRateLimited  = errors.New("the token's rate limit is reached") // 429, or not sent; RetryAfter says when to try
	ErrUnauthorized = errors.New("the token was refused")
	ErrOtherAccount = errors.New("the token is another account's") // not sent
	ErrForbidden    = errors.New("the token lacks a scope")
	ErrUnsent       = errors.New("DigitalOcean could not be reached")

	// ErrUnconfirmed is every failure after which the request may have been
	// carried out all the same: a 5xx, a cut or a late answer, an answer that
	// is not the API's.
	ErrUnconfirmed = errors.New("DigitalOcean did not confirm")
)

// CloudError is an error of a Cloud. errors.Is finds its class.
type CloudError struct {
	Class      error         // one of the classes above
	Op         string        // "POST /v2/droplets"
	Status     int           // HTTP status; 0 = no answer
	Message    string        // DigitalOcean's words, or what went wrong
	RequestID  string        // DigitalOcean's, for its support; may be ""
	RetryAfter time.Duration // at most a minute; 0 = not told
}

func (e *CloudError) Error() string {
	s := e.Op + ": "
	if e.Status != 0 {
		s += fmt.Sprintf("%d ", e.Status)
	}
	s += e.Message
	if e.RequestID != "" {
		s += " (request id " + e.RequestID + ")"
	}
	return s
}

func (e *CloudError) Unwrap() error { return e.Class }

// cloudError returns the CloudError in err. Anything else, a deadline for one, proves
// nothing: it is unconfirmed.
func cloudError(err error) CloudError {
	if e, ok := errors.AsType[*CloudError](err); ok {
		return *e
	}
	return CloudError{Class: ErrUnconfirmed}
}

// definite reports whether err proves that nothing was done.
func definite(err error) bool { return !errors.Is(cloudError(err).Class, ErrUnconfirmed) }

// permanent reports whether err is one that time does not heal.
func permanent(err error) bool {
	return errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrOtherAccount)
}

// unsent reports whether err is of a call's end rather than of a request.
func unsent(err error) bool {
	_, ok := errors.AsType[*CloudError](err)
	return !ok
}

// requestID returns DigitalOcean's id of the request that failed with err, or "".
func requestID(err error) string { return cloudError(err).RequestID }

// retryAfter returns how long DigitalOcean asked to wait, or 0. It is never
// more than a minute: then one request tries. (TestRetryAfterIsBounded)
func retryAfter(err error) time.Duration { return min(cloudError(err).RetryAfter, time.Minute) }
