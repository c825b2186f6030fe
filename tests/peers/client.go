// A client made of Go's net/smtp and crypto/tls, with logins that it does not bring along: client HOST PORT first|starttls CA MECHANISM USER PASSWORD RECIPIENT FILE
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"strconv"
	"strings"
)

// LOGIN, as servers have asked for it since before there was a document of it.
type login struct{ user, password string }

func (l *login) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (l *login) Next(asked []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if strings.HasPrefix(strings.ToLower(string(asked)), "user") {
		return []byte(l.user), nil
	}
	return []byte(l.password), nil
}

// RFC 5802 and 7677, bound to TLS by RFC 9266 or not.
type scram struct {
	mechanism, user, password, header string
	binding, server                   []byte
	bare, nonce                       string
	turn                              int
}

func sign(key []byte, text string) []byte {
	made := hmac.New(sha256.New, key)
	made.Write([]byte(text))
	return made.Sum(nil)
}

func (s *scram) Start(*smtp.ServerInfo) (string, []byte, error) {
	random := make([]byte, 18)
	if _, err := rand.Read(random); err != nil {
		return "", nil, err
	}
	s.nonce = base64.StdEncoding.EncodeToString(random)
	s.bare = "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s.user) + ",r=" + s.nonce
	return s.mechanism, []byte(s.header + s.bare), nil
}

func (s *scram) Next(told []byte, more bool) ([]byte, error) {
	s.turn++
	if !more {
		if s.turn < 3 {
			return nil, errors.New("logged in by a server that did not prove itself")
		}
		return nil, nil
	}
	if s.turn == 2 {
		if string(told) != "v="+base64.StdEncoding.EncodeToString(s.server) {
			return nil, errors.New("the server does not know the password")
		}
		return []byte{}, nil
	}
	parts := map[string]string{}
	for _, part := range strings.Split(string(told), ",") {
		parts[part[:1]] = part[2:]
	}
	salt, err := base64.StdEncoding.DecodeString(parts["s"])
	count, wrong := strconv.Atoi(parts["i"])
	if err != nil || wrong != nil || !strings.HasPrefix(parts["r"], s.nonce) {
		return nil, fmt.Errorf("not a challenge: %q", told)
	}
	last := sign([]byte(s.password), string(salt)+"\x00\x00\x00\x01")
	salted := append([]byte(nil), last...)
	for ; count > 1; count-- {
		last = sign([]byte(s.password), string(last))
		for at := range salted {
			salted[at] ^= last[at]
		}
	}
	without := "c=" + base64.StdEncoding.EncodeToString(append([]byte(s.header), s.binding...)) + ",r=" + parts["r"]
	signed := s.bare + "," + string(told) + "," + without
	key := sign(salted, "Client Key")
	stored := sha256.Sum256(key)
	for at, byte := range sign(stored[:], signed) {
		key[at] ^= byte
	}
	s.server = sign(sign(salted, "Server Key"), signed)
	return []byte(without + ",p=" + base64.StdEncoding.EncodeToString(key)), nil
}

func send(host, port, first, ca, mechanism, user, password, recipient, file string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{ServerName: host, RootCAs: roots}
	var connection net.Conn
	if first == "first" {
		connection, err = tls.Dial("tcp", host+":"+port, config)
	} else {
		connection, err = net.Dial("tcp", host+":"+port)
	}
	if err != nil {
		return err
	}
	client, err := smtp.NewClient(connection, host)
	if err != nil {
		return err
	}
	if err := client.Hello("go.example"); err != nil {
		return err
	}
	if first != "first" {
		if err := client.StartTLS(config); err != nil {
			return err
		}
	}
	state, ok := client.TLSConnectionState()
	if under, is := connection.(*tls.Conn); is {
		state, ok = under.ConnectionState(), true
	}
	if !ok {
		return errors.New("no TLS")
	}
	var auth smtp.Auth
	switch mechanism {
	case "PLAIN":
		auth = smtp.PlainAuth("", user, password, host)
	case "LOGIN":
		auth = &login{user, password}
	case "SCRAM-SHA-256":
		auth = &scram{mechanism: mechanism, user: user, password: password, header: "n,,"}
	case "SCRAM-SHA-256-PLUS":
		binding, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil {
			return err
		}
		auth = &scram{mechanism: mechanism, user: user, password: password, header: "p=tls-exporter,,", binding: binding}
	}
	if err := client.Auth(auth); err != nil {
		return fmt.Errorf("authentication failed: %w", err)
	}
	if err := client.Mail("a@b.example"); err != nil {
		return err
	}
	if err := client.Rcpt(recipient); err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	body, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := body.Write(text); err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	return client.Quit()
}

func main() {
	a := os.Args
	if err := send(a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
