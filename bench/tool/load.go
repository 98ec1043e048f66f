package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load runs many sessions and says how they went: {"sessions", "seconds", "p50", "p95", "p99" in microseconds}.
// One failed session ends it: a rate of errors is no rate.
func load(arguments []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	concurrency := flags.Int("concurrency", 16, "sessions at once")
	sessions := flags.Int("sessions", 1000, "sessions in all")
	var a app
	if err := a.parse(flags, arguments); err != nil {
		return err
	}
	latencies := make([]time.Duration, *sessions)
	begin := time.Now()
	err := many(*sessions, *concurrency, func(n int) error {
		start := time.Now()
		err := a.run()
		latencies[n] = time.Since(start)
		return err
	})
	seconds := time.Since(begin).Seconds()
	if err != nil {
		return err
	}
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	at := func(share float64) int64 { return latencies[int(share*float64(*sessions-1))].Microseconds() }
	say(map[string]any{"sessions": *sessions, "seconds": seconds, "p50": at(.5), "p95": at(.95), "p99": at(.99)})
	return nil
}

// bulk moves one message of 256 MiB and says how long that took: up by SMTP's DATA, down by IMAP's FETCH.
func bulk(arguments []string) error {
	flags := flag.NewFlagSet("bulk", flag.ContinueOnError)
	var a app
	if err := a.parse(flags, arguments); err != nil {
		return err
	}
	d, err := a.open()
	if err != nil {
		return err
	}
	defer d.connection.Close()
	move := d.bulkUp
	if a.protocol == "imap" {
		move = d.bulkDown
	}
	seconds, err := move()
	if err != nil {
		return err
	}
	say(map[string]any{"octets": bulkOctets, "seconds": seconds})
	return d.end()
}

func (d *dialogue) bulkUp() (float64, error) {
	if err := d.envelope(); err != nil {
		return 0, err
	}
	block := []byte(strings.Repeat(strings.Repeat("x", 62)+"\r\n", 1024))
	begin := time.Now()
	for sent := 0; sent < bulkOctets; sent += len(block) {
		if _, err := d.connection.Write(block); err != nil {
			return 0, err
		}
	}
	err := d.smtp(".\r\n", "250")
	return time.Since(begin).Seconds(), err
}

func (d *dialogue) bulkDown() (float64, error) {
	if err := d.imap("SELECT INBOX"); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(d.connection, "b FETCH 1 RFC822.TEXT\r\n"); err != nil {
		return 0, err
	}
	begin := time.Now()
	if _, err := d.line("* 1 FETCH"); err != nil {
		return 0, err
	}
	buffer := make([]byte, 64<<10)
	for left := bulkOctets; left > 0; {
		n, err := d.in.Read(buffer[:min(left, len(buffer))])
		if err != nil {
			return 0, err
		}
		left -= n
	}
	seconds := time.Since(begin).Seconds()
	if _, err := d.line(")"); err != nil {
		return 0, err
	}
	_, err := d.line("b OK")
	return seconds, err
}

// ping says NOOP many times in one session, each behind the answer to the one before: {"pings", "seconds"}.
func ping(arguments []string) error {
	flags := flag.NewFlagSet("ping", flag.ContinueOnError)
	pings := flags.Int("pings", 1000, "")
	var a app
	if err := a.parse(flags, arguments); err != nil {
		return err
	}
	d, err := a.open()
	if err != nil {
		return err
	}
	defer d.connection.Close()
	// Postern logs in when a command needs it, and answers NOOP itself before.
	if err := d.first(); err != nil {
		return err
	}
	begin := time.Now()
	for i := 0; i < *pings; i++ {
		if err := d.noop(); err != nil {
			return err
		}
	}
	say(map[string]any{"pings": *pings, "seconds": time.Since(begin).Seconds()})
	return d.end()
}

func (d *dialogue) noop() error {
	switch d.app.protocol {
	case "smtp":
		return d.smtp("NOOP\r\n", "250")
	case "imap":
		return d.imap("NOOP")
	default:
		return d.pop3("NOOP\r\n", false)
	}
}

// idle holds connections that are logged in. Each line on its standard input is the number that are to be open from then on;
// it says {"open": n} when they are.
func idle(arguments []string) error {
	flags := flag.NewFlagSet("idle", flag.ContinueOnError)
	var a app
	if err := a.parse(flags, arguments); err != nil {
		return err
	}
	var open []*dialogue
	return eachNumber(os.Stdin, func(wanted int) error {
		for len(open) > wanted {
			last := len(open) - 1
			open[last].end()
			open[last].connection.Close()
			open = open[:last]
		}
		more, err := a.openMany(wanted - len(open))
		if err != nil {
			return err
		}
		open = append(open, more...)
		say(map[string]any{"open": len(open)})
		return nil
	})
}

// openMany opens sessions 16 at once; each stands behind its first command after the login.
func (a *app) openMany(count int) ([]*dialogue, error) {
	opened := make([]*dialogue, max(count, 0))
	err := many(count, 16, func(n int) error {
		d, err := a.open()
		if err == nil {
			err = d.first()
		}
		opened[n] = d
		return err
	})
	return opened, err
}

// many does something so often, so many at once; the first error ends it.
func many(count, concurrency int, do func(n int) error) error {
	var next atomic.Int64
	var failure atomic.Value
	var all sync.WaitGroup
	for i := 0; i < concurrency; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := next.Add(1) - 1; n < int64(count) && failure.Load() == nil; n = next.Add(1) - 1 {
				if err := do(int(n)); err != nil {
					failure.CompareAndSwap(nil, err.Error())
					return
				}
			}
		}()
	}
	all.Wait()
	if text := failure.Load(); text != nil {
		return errors.New(text.(string))
	}
	return nil
}

func (d *dialogue) first() error {
	switch d.app.protocol {
	case "smtp":
		return d.smtp("MAIL FROM:<app@example.org>\r\n", "250")
	case "imap":
		return d.imap("SELECT INBOX")
	default:
		return d.pop3("STAT\r\n", false)
	}
}
