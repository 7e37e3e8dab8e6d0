package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "health" {
		if _, err := http.Get("http://127.0.0.1:8000/"); err != nil {
			log.Fatal(err)
		}
		return
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "go")
	})
	log.Fatal(http.ListenAndServe(":8000", nil))
}
