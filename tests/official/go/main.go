package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Printf("hello from %s, uid %d\n", os.Args[1], os.Getuid())
}
