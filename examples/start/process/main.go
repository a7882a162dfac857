// Process is the program of the README for one process.
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/go-holdoff/holdoff"
)

func main() {
	client := &http.Client{Transport: &holdoff.Transport{}}

	resp, err := client.Get("https://api.github.com/zen")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
}
