// Sends a message by the API. Go 1.19 or later, nothing else.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

type address struct {
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
}

type message struct {
	From            address        `json:"from"`
	To              []address      `json:"to"`
	Subject         string         `json:"subject"`
	Text            string         `json:"text,omitempty"`
	HTML            string         `json:"html,omitempty"`
	Category        string         `json:"category,omitempty"`
	CustomVariables map[string]any `json:"custom_variables,omitempty"`
}

type answer struct {
	MessageIDs []string `json:"message_ids"`
	Errors     []string `json:"errors"`
}

func send(one message) ([]string, error) {
	body, err := json.Marshal(one)
	if err != nil {
		return nil, err
	}
	// The same key for each try of the same message: it is sent once, however often an answer is lost.
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	client := http.Client{Timeout: time.Minute}
	for _, pause := range []int{1, 5, 30, 0} {
		request, err := http.NewRequest("POST", os.Getenv("RELEVO_API")+"/api/send", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+os.Getenv("RELEVO_TOKEN"))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", fmt.Sprintf("%x", key))
		reply, err := client.Do(request)
		if err == nil {
			var said answer
			err = json.NewDecoder(reply.Body).Decode(&said)
			reply.Body.Close()
			if err == nil && reply.StatusCode == 200 {
				return said.MessageIDs, nil
			}
			if err == nil {
				err = fmt.Errorf("%d: %s", reply.StatusCode, strings.Join(said.Errors, "; "))
			}
			switch reply.StatusCode {
			// An earlier try is worked on still, or: later.
			case 409, 429, 503, 504:
				if after, _ := strconv.Atoi(reply.Header.Get("Retry-After")); pause > 0 && after > pause {
					pause = after
				}
			default:
				return nil, err
			}
		}
		if pause == 0 {
			return nil, err
		}
		time.Sleep(time.Duration(pause) * time.Second)
	}
	return nil, nil
}

func main() {
	ids, err := send(message{
		From:            address{Email: "hello@shop.example", Name: "The shop"},
		To:              []address{{Email: "ada@example.org"}},
		Subject:         "Your order is on its way",
		Text:            "It is on its way.",
		HTML:            "<p>It is <b>on its way</b>.</p>",
		Category:        "orders",
		CustomVariables: map[string]any{"order": 1234},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("taken:", strings.Join(ids, ", "))
}
