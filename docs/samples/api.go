// A sample API for pfxhttp: go run docs/samples/api.go 8080
//
// It shows the form of requests and answers. A real API has a database, verifies hashes of passwords, and runs
// behind a web server with TLS.
package main

import (
	"crypto/subtle"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"
)

type object = map[string]any

var (
	mailboxes = map[string]string{"bob@example.org": "secret"}
	domains   = map[string]bool{"example.org": true}
	blocked   = map[string]bool{"spammer@example.net": true}
)

func answer(w http.ResponseWriter, status int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// The account of a login, or nil.
func checked(login map[string]string) any {
	known, exists := mailboxes[login["username"]]
	if exists && subtle.ConstantTimeCompare([]byte(known), []byte(login["password"])) == 1 {
		return login["username"]
	}
	return nil
}

// A handler of POST, which gets the strings of the request.
func post(handler func(http.ResponseWriter, map[string]string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request map[string]string
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			answer(w, http.StatusBadRequest, object{"message": err.Error()})
			return
		}
		handler(w, request)
	}
}

// A handler of GET for one resource of a kind.
func get(prefix string, exists func(string) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, prefix)
		if exists(name) {
			answer(w, http.StatusOK, object{"name": name})
		} else {
			answer(w, http.StatusNotFound, object{"message": "not found"})
		}
	}
}

func main() {
	http.HandleFunc("/v1/mailbox", post(func(w http.ResponseWriter, request map[string]string) {
		data := object{}
		if _, exists := mailboxes[request["address"]]; exists {
			data["result"] = request["address"]
		}
		answer(w, http.StatusOK, object{"data": data})
	}))
	http.HandleFunc("/v1/policy", post(func(w http.ResponseWriter, request map[string]string) {
		action := "DUNNO"
		if blocked[request["sender"]] {
			action = "REJECT you are blocked"
		}
		answer(w, http.StatusOK, object{"action": action})
	}))
	// As Nauthilus: the answer is in headers.
	http.HandleFunc("/v1/auth/json", post(func(w http.ResponseWriter, request map[string]string) {
		account := checked(request)
		if account == nil {
			w.Header().Set("Auth-Status", "wrong password")
			answer(w, http.StatusUnauthorized, object{})
			return
		}
		w.Header().Set("Auth-Status", "OK")
		w.Header().Set("Auth-User", account.(string))
		answer(w, http.StatusOK, object{})
	}))
	// The answer is in the body.
	http.HandleFunc("/v1/login", post(func(w http.ResponseWriter, request map[string]string) {
		account := checked(request)
		answer(w, http.StatusOK, object{"ok": account != nil, "user": account})
	}))
	http.HandleFunc("/v1/mailboxes/", get("/v1/mailboxes/", func(name string) bool {
		_, exists := mailboxes[name]
		return exists
	}))
	http.HandleFunc("/v1/domains/", get("/v1/domains/", func(name string) bool { return domains[name] }))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
