package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// serve runs the command on a free port, and returns its URL once it has printed it, with all lines so far. At the end of
// the test it is interrupted, and must end without an error.
func serve(t *testing.T, args ...string) (url, said string) {
	t.Helper()
	ctx, interrupt := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, append([]string{"-port", "0"}, args...), in)
		_ = in.Close()
	}()
	t.Cleanup(func() {
		interrupt()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		said += lines.Text() + "\n"
		if url = regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(lines.Text()); url != "" {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return url, said
		}
	}
	t.Fatalf("it printed no URL: %v", <-ended)
	return "", ""
}

func send(t *testing.T, method, url, body string) (answer string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

const createBody = `{"name":"ci-1","region":"fra1","size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64"}`

// The example session of -help, as it is printed there.
func TestExampleSession(t *testing.T) {
	url, _ := serve(t, "-boot", "5s", "-fault", "POST /v2/droplets: applied reset")
	if _, err := send(t, "POST", url+"/v2/droplets", createBody); err == nil {
		t.Fatal("the create was answered")
	}
	got, err := send(t, "GET", url+"/_sim", "")
	if err != nil {
		t.Fatal(err)
	}
	got = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllString(got, "2026-01-01T12:00:00Z")
	for line := range strings.Lines(got) {
		if !strings.Contains(usage, "\n  "+line) {
			t.Errorf("-help does not show %q", line)
		}
	}
}

func TestGuestsAnswerOnTheirDropletsAddresses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127/8 without set-up")
	}
	url, said := serve(t, "-ssh-port", "20022", "-boot", "1s")
	if !strings.Contains(said, "\n  [runners.autoscaler.connector_config]\n    protocol_port = 20022\n") {
		t.Errorf("it did not say what to write into config.toml: %q", said)
	}
	if body, err := send(t, "POST", url+"/v2/droplets", createBody); err != nil || !strings.Contains(body, `"status":"new"`) {
		t.Fatalf("%s (%v)", body, err)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.64.0.1:20022")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if banner, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(banner, "SSH-2.0-") {
		t.Errorf("got %q, %v", banner, err)
	}
}

func TestWrongFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-fault reset":              "want OPERATION: WORD...",
		"-colour blue":              "not defined",
		"serve":                     `unexpected argument "serve"`,
		"-port 70000":               "choose another -port",
		"-ssh-port 70000":           "choose one from 1 to 65535",
		"-docker=/none/docker.sock": "-docker: no Docker",
	} {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(args), &out)
		if err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%s: got %v, and %q on stdout; want %q", args, err, &out, want)
		}
	}
}
