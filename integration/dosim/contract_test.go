package dosim_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim/contract"
)

// TestContract sends every operation that the simulator knows through DigitalOcean's specification, once as it should
// be and once refused. All other tests of this package are held to it too; this one makes sure that none is missed.
func TestContract(t *testing.T) {
	if specification == nil {
		t.Skipf("not checked against DigitalOcean's specification: set %s to the path of its OpenAPI file, from %s",
			contract.Env, contract.Source)
	}
	sim := dosim.New(dosim.Options{BootTime: 1, DeleteTime: 1, PerMinute: -1})
	h, before := specified(t, sim), specification.Checked()
	const where = `"region":"nyc3","size":"gpu-h100x1-80gb","image":204117263`
	operations := []string{
		`POST /v2/account/keys {"name":"k","public_key":"` + publicKey + `"}`,
		`POST /v2/droplets {"names":["a","b","c"],` + where + `,"ssh_keys":[46000001],"tags":["fleeting","fleeting-delete:x"],` +
			`"ipv6":true,"monitoring":true,"backups":true,"user_data":"#!/bin/sh"}`,
		`POST /v2/droplets {"name":"d",` + where + `}`,
		"GET /v2/droplets?type=gpus", "GET /v2/droplets/512000001",
		`POST /v2/tags {"name":"t"}`, "GET /v2/tags/fleeting",
		`POST /v2/tags/fleeting/resources {"resources":[{"resource_id":"512000001","resource_type":"droplet"}]}`,
		"GET /v2/account/keys/46000001", "GET /v2/images/docker-20-04", "GET /v2/vpcs/00000001-0f0c-4000-8000-000000000001",
		`POST /v2/projects/00000002-9a3e-4000-8000-000000000002/resources {"resources":["do:droplet:512000001"]}`,
		"DELETE /v2/droplets/512000001", "DELETE /v2/droplets?tag_name=fleeting-delete:x", "DELETE /v2/tags/fleeting-delete:x",
	}
	missing := strings.NewReplacer("{id}", "1", "{tag}", "nosuchtag")
	for _, op := range sim.Operations() {
		operations = append(operations, missing.Replace(op)) // what lists; and what is refused, for nothing is there
	}
	operations = append(operations, "DELETE /v2/account/keys/46000001")
	succeeded := map[string]bool{}
	for _, token := range []string{dosim.DefaultToken, "wrong"} {
		for _, op := range operations {
			f := strings.SplitN(op+" ", " ", 3)
			r := httptest.NewRequest(f[0], f[1], strings.NewReader(strings.TrimSpace(f[2])))
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Content-Type", "application/json")
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	for _, r := range sim.Requests() {
		succeeded[r.Op] = succeeded[r.Op] || r.Status < 300
	}
	for _, op := range sim.Operations() {
		if !succeeded[op] {
			t.Errorf("%s was refused whenever it was sent", op)
		}
	}
	if n := specification.Checked() - before; n != 2*len(operations) {
		t.Errorf("only %d answers were checked", n)
	}
}
