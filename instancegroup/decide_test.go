package instancegroup

import "time"

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
