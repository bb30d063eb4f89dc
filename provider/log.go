package provider

import (
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
)

// lines is the runner's logger. What it is given crosses to the runner as JSON,
// where a number is a floating point number and anything else a map: an id would
// read 5.12000001e+08, and half a minute 3e+10. So it sends text.
type lines struct{ hclog.Logger }

func (l lines) Debug(msg string, args ...any) { l.Logger.Debug(msg, texts(args)...) }
func (l lines) Info(msg string, args ...any)  { l.Logger.Info(msg, texts(args)...) }
func (l lines) Warn(msg string, args ...any)  { l.Logger.Warn(msg, texts(args)...) }
func (l lines) Error(msg string, args ...any) { l.Logger.Error(msg, texts(args)...) }

// texts returns args with every value as a person writes it.
func texts(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case time.Time:
			out[i] = a.Format(time.RFC3339)
		case float64:
			out[i] = strconv.FormatFloat(a, 'f', -1, 64)
		default:
			out[i] = fmt.Sprint(a)
		}
	}
	return out
}
