package main

import "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"

const usage = `Usage: dosim [flags]

Serves a simulated DigitalOcean account over HTTP, on loopback, until interrupted.
It rejects what DigitalOcean rejects, limits rates as DigitalOcean does, bills by
the second, and fails on request. Nothing is kept, and nothing costs money.

  -listen ADDR         loopback address to serve on (default 127.0.0.1:8787;
                       port 0 is any free one)
  -tls FILE            serve HTTPS (HTTP/2 and HTTP/1.1), and write the certificate
                       to trust to FILE
  -token TOKEN         the only token it lets in (default dosim-token)
  -boot D              from a create to active (default 30s)
  -delete D            from a delete to gone (default 3s)
  -list-lag D          how far lists are behind the truth (default 0s)
  -latency D           round trip of every request (default 0s)
  -droplet-limit N     the account's quota (default 100)
  -per-minute N        requests a minute before 429 (default 250; -1 is no limit)
  -per-hour N          requests an hour (default 5000; -1 is no limit)
  -guests              an SSH server in every Droplet, on addresses of 127/8, and a
                       port that it tells: connector_config.protocol_port
  -ssh-port N          guests, on this port (default any free one)
  -docker[=SOCKET]     guests, whose docker commands reach a Docker Engine of this
                       host, for docker-autoscaler. All Droplets share it, and a
                       job's container outlives a Droplet that dies
  -fault FAULT         something to go wrong; may be given many times

` + dosim.FaultGrammar + `
While it runs GET /_sim tells what is really there: Droplets, bill, requests, faults,
and violations (what no sane client does).

An example, with the first create carried out and its answer lost:

  $ dosim -boot 5s -fault 'POST /v2/droplets: applied reset' &
  $ auth='Authorization: Bearer dosim-token'
  $ api=http://127.0.0.1:8787
  $ curl -H "$auth" $api/v2/droplets -d '{"name":"ci-1","region":"fra1",
      "size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64"}'
  curl: (56) Recv failure: Connection reset by peer
  $ curl -s $api/_sim
  Droplets: 1
    512000001  ci-1  new  fra1  s-1vcpu-1gb  127.64.0.1
  Bill: $0.01 for 1 Droplet
  Requests: 1
       1  POST /v2/droplets
  Faults: none
  Violations: 1
    2026-01-01T12:00:00Z created ci-1 without SSH keys
`
