package main

import (
	"encoding/base64"
	"fmt"
)

// The one account that the server knows, with both of its secrets. What Postern, nginx and Dovecot are configured with.
const (
	user     = "bench@example.org"
	password = "bench-password"
	// As long as the access tokens of common providers are (1 to 2 KiB).
	tokenLength = 1200
)

var token = func() string {
	text := make([]byte, tokenLength)
	for i := range text {
		text[i] = "abcdefghijklmnopqrstuvwxyz"[i%26]
	}
	return string(text)
}()

var (
	saslPlain = base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	// The same with the account's own name as the identity to act as (RFC 4616, section 2), as Dovecot's proxy sends it.
	saslPlainAs = base64.StdEncoding.EncodeToString([]byte(user + "\x00" + user + "\x00" + password))
	saslXoauth2 = base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("user=%s\x01auth=Bearer %s\x01\x01", user, token)))
)

// isAccount tells whether a SASL response is the account's own.
func isAccount(mechanism, response string) bool {
	switch mechanism {
	case "PLAIN":
		return response == saslPlain || response == saslPlainAs
	case "XOAUTH2":
		return response == saslXoauth2
	}
	return false
}
