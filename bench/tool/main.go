// Command bench is the compiled half of `npm run bench`: a mail server that costs as little as possible, the applications that
// use it, and what stands between them in some cases (a SOCKS5 proxy, a tunnel through it, a network with a delay).
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

var commands = map[string]func(arguments []string) error{
	"serve":  serve,
	"load":   load,
	"bulk":   bulk,
	"idle":   idle,
	"ping":   ping,
	"socks":  socks,
	"tunnel": tunnel,
	"delay":  delay,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench serve|load|bulk|idle|ping|socks|tunnel|delay [flags]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// say writes one line of JSON, which is how the benchmark's TypeScript half hears of this process.
func say(value any) {
	line, _ := json.Marshal(value)
	os.Stdout.Write(append(line, '\n'))
}

// untilStdinEnds keeps a server for as long as the process that started it lives.
func untilStdinEnds() {
	buffer := make([]byte, 64)
	for {
		if _, err := os.Stdin.Read(buffer); err != nil {
			return
		}
	}
}
