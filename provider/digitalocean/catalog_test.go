package digitalocean

import (
	"net/http"
	"testing"
)

// A size is a GPU size by its gpu_info or its slug.
func TestGPUSizes(t *testing.T) {
	c := over(t, answering(func(*http.Request) (*http.Response, error) {
		return answer(200, `{"sizes":[{"slug":"s-1vcpu-1gb"},{"slug":"gpu-h100x1-80gb","gpu_info":{"count":1}},
			{"slug":"gpu-new"},{"slug":"h9-new","gpu_info":{"count":1}}]}`), nil
	}))
	sizes, err := c.Sizes(t.Context())
	if err != nil || len(sizes) != 4 {
		t.Fatal(sizes, err)
	}
	for i, want := range []bool{false, true, true, true} {
		if sizes[i].GPU != want {
			t.Errorf("%s: GPU %v", sizes[i].Slug, sizes[i].GPU)
		}
	}
}
