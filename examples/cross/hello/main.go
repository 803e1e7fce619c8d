// A program that says what it was compiled for.
package main

import (
	"os"
	"runtime"
)

func main() {
	os.Stdout.WriteString("compiled for " + runtime.GOOS + "/" + runtime.GOARCH + "\n")
}
