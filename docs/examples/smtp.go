// Sends a message by SMTP: TLS, a login, and what to do with a refusal. Go 1.19 or later, nothing else.
package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"time"
)

const message = `From: The shop <hello@shop.example>
To: Ada <ada@example.org>
Subject: Your order is on its way
Date: %s
Message-ID: <%d@shop.example>
X-Relevo-Category: orders
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

It is on its way.
`

func send(host, port, user, password, sender, recipient string, body []byte) error {
	connection, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 30*time.Second)
	if err != nil {
		return err
	}
	// All of it has an end.
	connection.SetDeadline(time.Now().Add(5 * time.Minute))
	client, err := smtp.NewClient(connection, host)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.StartTLS(&tls.Config{ServerName: host}); err != nil {
		return err
	}
	if err := client.Auth(smtp.PlainAuth("", user, password, host)); err != nil {
		return err
	}
	if err := client.Mail(sender); err != nil {
		return err
	}
	if err := client.Rcpt(recipient); err != nil {
		return err
	}
	data, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := data.Write(body); err != nil {
		return err
	}
	// The answer to the message: nil says that it is on the relay's disk.
	if err := data.Close(); err != nil {
		return err
	}
	return client.Quit()
}

func main() {
	now := time.Now()
	text := fmt.Sprintf(message, now.Format(time.RFC1123Z), now.UnixNano())
	port := os.Getenv("RELEVO_PORT")
	if port == "" {
		port = "587"
	}
	err := send(os.Getenv("RELEVO_HOST"), port, os.Getenv("RELEVO_USER"), os.Getenv("RELEVO_PASSWORD"),
		"hello@shop.example", "ada@example.org", []byte(strings.ReplaceAll(text, "\n", "\r\n")))
	var reply *textproto.Error
	switch {
	case err == nil:
		fmt.Println("taken: it is on the relay's disk")
	case errors.As(err, &reply) && reply.Code >= 500:
		fmt.Fprintln(os.Stderr, "not to be sent again as it is:", err)
		os.Exit(1)
	default:
		// 4xx, or the connection broke: with longer and longer pauses.
		fmt.Fprintln(os.Stderr, "try again later:", err)
		os.Exit(1)
	}
}
